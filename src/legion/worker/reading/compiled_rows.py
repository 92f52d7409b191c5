"""The quick way into a request: decoders compiled once from the signature, memory of the column lists seen.

It takes what it is sure to read as the patient way would, and returns None for everything else.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Type, Union

import msgspec
import numpy as np

from legion.errors import InputError
from legion.interface.table import Table
from legion.worker.reading import simdjson_parser
from legion.worker.reading.rows import RowReader, raw_columns

# From here on a body is worth simdjson's set-up.
_LARGE = 8192
# So many texts of column names are remembered, none of them longer than their names call for.
_REMEMBERED = 64

Absent = Union[msgspec.Raw, msgspec.UnsetType]


class QuickReader:
    """Reads {KEY: {"columns": …, "data": …}}, or {"columns": …, "data": …} where KEY is None."""

    def __init__(self, rows: RowReader, key: Optional[str], rivals: Tuple[str, ...] = ()) -> None:
        self._rows = rows
        self._key = key
        self._orders: Dict[bytes, Any] = {}
        self._longest = 1024 + 4 * len(msgspec.json.encode(rows.names))
        self._width = len(rows.kinds)
        # The decoder's types go by position: in another order they hold only where all are the same.
        self._uniform = rows.uniform
        self._decode = None if rows.quick_row is None else msgspec.json.Decoder(_body_type(rows, key, rivals)).decode
        self._blocks = simdjson_parser.available and bool(rows.kinds) and set(rows.kinds) <= {"double"}

    def read(self, body: bytes) -> Optional[Tuple[Table, Any]]:
        """The table and the raw params (UNSET where there are none), or None: take the patient way."""
        if self._decode is None:
            return None
        if self._blocks and len(body) > _LARGE:
            table = self._read_block(body)
            if table is not None:
                return table, msgspec.UNSET
        try:
            request: Any = self._decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        split = request
        if self._key is not None:
            split = request.split
            if request.rival_0 or request.rival_1 or request.rival_2:
                return None
        columns = bytes(split.columns)
        reorder = self._orders.get(columns, _UNSEEN)
        if reorder is _UNSEEN:
            reorder = self._learn(columns)
        if reorder is _UNREADABLE:
            return None
        return self._rows.quick(split.data, reorder), request.params

    def _learn(self, columns: bytes) -> Any:
        """How to reorder rows under this JSON text of column names; remembered."""
        try:
            reorder = self._order_of(raw_columns(columns) if columns else None)
        except InputError:
            return _UNREADABLE
        if reorder is not _UNREADABLE and len(self._orders) < _REMEMBERED and len(columns) <= self._longest:
            self._orders[columns] = reorder
        return reorder

    def _order_of(self, names: Optional[List[Any]]) -> Any:
        if names is not None and tuple(names) == self._rows.names:
            return None
        if names is not None and not self._rows.named:
            # The model gets the request's own names; only the patient way keeps them.
            return _UNREADABLE
        try:
            fields, reorder = self._rows.order(names)
        except InputError:
            return _UNREADABLE
        if len(fields) != self._width or (reorder is not None and not self._uniform):
            return _UNREADABLE
        return reorder

    def _read_block(self, body: bytes) -> Optional[Table]:
        """A large body's numbers straight into one float64 block."""
        try:
            document: Any = simdjson_parser.PARSER.parse(body)
            if self._key is not None:
                if list(document.keys()) != [self._key]:
                    return None
                document = document[self._key]
            keys = sorted(document.keys())
            if keys not in (["data"], ["columns", "data"]):
                return None
            names = document["columns"].as_list() if len(keys) == 2 else None
            data = document["data"]
            n, width = len(data), self._width
            # as_buffer flattens: only n rows of `width` scalars have exactly this many brackets.
            if body.count(b"[") != n + 1 + (names is not None) or any(len(row) != width for row in data):
                return None
            block = np.frombuffer(data.as_buffer(of_type="d"), dtype="<f8").reshape(n, width)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):
            return None
        reorder = self._order_of(names)
        if reorder is _UNREADABLE:
            return None
        if reorder is not None:
            block = block[:, list(reorder(range(width)))]
        return Table(self._rows.names, n, block=block)


_UNSEEN = object()
_UNREADABLE = object()


def _body_type(rows: RowReader, key: Optional[str], rivals: Tuple[str, ...]) -> Type[Any]:
    split: List[Any] = [("data", List[rows.quick_row]), ("columns", msgspec.Raw, msgspec.Raw())]  # type: ignore[name-defined]
    params = ("params", Absent, msgspec.UNSET)
    if key is None:
        return msgspec.defstruct("Split", [*split, params], forbid_unknown_fields=True, gc=False)
    inner = msgspec.defstruct("Split", split, forbid_unknown_fields=True, gc=False)
    fields: List[Any] = [("split", inner), params]
    fields += [(f"rival_{i}", Absent, msgspec.UNSET) for i in range(3)]
    names = {"split": key, **{f"rival_{i}": rival for i, rival in enumerate(rivals)}}
    return msgspec.defstruct("Body", fields, rename=names, gc=False)
