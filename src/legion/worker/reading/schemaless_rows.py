"""Rows for a model that declares no signature: the request's own columns, one width throughout."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, List, Optional, Sequence, Tuple

from legion.errors import InputError
from legion.interface.table import Table
from legion.signature import SCALARS, Signature
from legion.worker.reading.scalars import Readers


class FreeReader:
    """As RowReader, where there is less to hold the columns against: their names, or nothing.

    Where the signature names the columns, rows come in its order, whatever the order of the request, and a column that
    is missing or unknown is refused. Their values are the model's own to check.
    """

    kinds: Tuple[str, ...] = ()
    quick_row = None

    def __init__(self, signature: Signature) -> None:
        self.fields = signature.inputs if _columns(signature) else ()
        self.names: Optional[Tuple[str, ...]] = tuple(str(field.name) for field in self.fields) or None
        self._known = frozenset(self.names or ())
        # The type that the model checks by makes the same of a row, whatever other rows are there.
        self._typed = signature.from_type_hints and bool(self.fields)

    def split(self, columns: Optional[Sequence[Any]], data: Any, readers: Optional[Readers] = None) -> Table:
        """A list of rows under a list of column names, which may be left out."""
        if columns is not None and not (isinstance(columns, list) and all(isinstance(c, str) for c in columns)):
            raise InputError("'columns' must be a list of names")
        if columns is None and self.names is not None:
            columns = list(self.names)
        if columns is not None and len(set(columns)) != len(columns):
            twice = next(name for name, times in Counter(columns).items() if times > 1)
            raise InputError(f"the column {twice[:60]!r} is there twice; send each column once", column=twice)
        order = None if columns is None else self._order(columns)
        if isinstance(data, list) and not any(isinstance(row, (list, dict)) for row in data):
            # One column, its values in a row.
            data = [[value] for value in data]
        if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
            raise InputError("'data' must be a list of rows, each a list of values")
        width = len(columns) if columns is not None else len(data[0]) if data else 0
        for number, row in enumerate(data):
            if len(row) != width:
                raise InputError(f"row {number}: {width} values expected, one a column, got {len(row)}", row=number)
        if columns is not None and order is not None and order != list(range(width)):
            columns = [columns[i] for i in order]
            data = [[row[i] for i in order] for row in data]
        names = None if columns is None else tuple(columns)
        return Table(names, len(data), rows=data, mergeable=self._typed or _floats(data))

    def _order(self, columns: List[str]) -> Optional[List[int]]:
        """Where the request has each of the signature's columns that it brings; None where none are declared."""
        if self.names is None:
            return None
        places = {name: place for place, name in enumerate(columns)}
        missing = [str(f.name) for f in self.fields if f.required and f.name not in places]
        unknown = [name for name in columns if name not in self._known]
        if missing or unknown:
            raise InputError(_columns_fault(missing, unknown), column=(missing or unknown)[0])
        return [places[name] for name in self.names if name in places]

    def records(self, data: Any, readers: Optional[Readers] = None) -> Table:
        """A list of objects of the same keys, one a row."""
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            raise InputError("rows as objects must be a list of objects, one a row")
        columns = list(data[0]) if data else list(self.names or ())
        for number, item in enumerate(data):
            if item.keys() != data[0].keys():
                odd = next(iter(item.keys() ^ data[0].keys()))
                raise InputError(f"row {number}: its columns are not those of row 0", row=number, column=odd)
        return self.split(columns, [[item[name] for name in columns] for item in data])

    def columns(self, data: Dict[str, Any], readers: Optional[Readers] = None) -> Table:
        """An object of columns, each a list of values of one length."""
        if not all(isinstance(values, list) for values in data.values()):
            return self.records([data])
        if len({len(values) for values in data.values()}) > 1:
            raise InputError("the columns are not of one length; send a list of equal length for each")
        return self.split(list(data), [list(row) for row in zip(*data.values())])

    def array(self, columns: Sequence[str], arrays: Sequence[Any]) -> Optional[Table]:
        """No block without a signature: the rows go as they are."""
        return None


def _columns_fault(missing: Sequence[str], unknown: Sequence[str]) -> str:
    parts = []
    if missing:
        parts.append(f"missing columns: {', '.join(repr(name)[:60] for name in missing[:20])}")
    if unknown:
        parts.append(f"unknown columns: {', '.join(repr(name)[:60] for name in unknown[:20])}")
    return "; ".join(parts) + "; send the columns of the model"


def _floats(rows: List[List[Any]]) -> bool:
    """Whether an array of these rows is of floats, whatever rows of floats it is merged with."""
    kinds = {type(value) for row in rows for value in row}
    return float in kinds and kinds <= {int, float}


def objects_of(data: Any) -> List[Any]:
    """A list of objects for a model that takes objects."""
    if not isinstance(data, list):
        raise InputError("this model takes a list of objects, one a row")
    for row, item in enumerate(data):
        if not isinstance(item, dict):
            raise InputError(f"row {row}: no object; this model takes a list of objects, one a row", row=row)
    return data


def _columns(signature: Signature) -> bool:
    """Whether the signature is of columns that have names, though not all have types."""
    return signature.named and all(field.type in (*SCALARS, "any") for field in signature.inputs)
