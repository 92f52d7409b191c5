"""What a codec is: a protocol's way from body to table, and from items to body."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Protocol, Tuple, Union

from legion.interface.model import Model
from legion.interface.table import Table
from legion.wire import Call
from legion.worker.reading.rows import RowReader
from legion.worker.reading.schemaless_rows import FreeReader, objects_of

Reader = Union[RowReader, FreeReader]


class Request(NamedTuple):
    """A body that was read. `params` is None where the request has none; `wanted` is what its codec has to remember."""

    table: Table
    params: Optional[Dict[str, Any]] = None
    wanted: Any = None


class Codec(Protocol):
    """One protocol. Built once for a model."""

    def decode(self, call: Call) -> Request:
        """Read a body. Raises InputError."""

    def encode(self, items: Any, wanted: Any) -> Tuple[bytes, Optional[str]]:
        """The answer's body for one request's items, and its content type where that is not JSON.

        Raises TypeError for what cannot be encoded, InputError for an answer that was asked for and is not there.
        """

    def refuse(self, error: Exception) -> Tuple[int, bytes]:
        """Status and body for a request that was refused, or whose prediction raised."""


def reader_for(model: Model) -> Reader:
    """The reader that the model's signature calls for."""
    return RowReader(model.signature) if model.signature.kind == "columns" else FreeReader(model.signature)


def objects_table(model: Model, rows: Reader, data: Any) -> Table:
    """A list of objects as they are, or held against the columns that the model describes and does not check itself."""
    objects = objects_of(data)
    if not objects or model.checks_objects or not isinstance(rows, RowReader) or not rows.named:
        return Table(None, len(objects), objects=objects)
    return as_objects(rows.records(objects))


def as_objects(table: Table) -> Table:
    """Rows as one object each, for a model that takes objects."""
    names = table.names or ()
    rows = table.rows if table.rows is not None else [] if table.block is None else table.block.tolist()
    return Table(None, table.n, objects=[dict(zip(names, row)) for row in rows])


def media_type(content_type: Optional[str]) -> Tuple[str, Dict[str, str]]:
    """`text/csv; charset=utf-8` → ("text/csv", {"charset": "utf-8"}); JSON where there is none."""
    if not content_type:
        return "application/json", {}
    first, *rest = (part.strip() for part in content_type.split(";"))
    parameters = {}
    for pair in rest:
        key, _, value = pair.partition("=")
        parameters[key.strip().lower()] = value.strip().strip('"').lower()
    return first.lower(), parameters
