"""Rows of a request, matched to the signature's columns by name and checked.

Two ways lead to the same table. The quick one is a decoder compiled from the signature, which takes
well-formed requests only; whatever it does not take goes the patient way, which names row and column.
"""

from __future__ import annotations

import json
from collections import Counter
from operator import itemgetter
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from legion.errors import InputError
from legion.interface.table import Table
from legion.signature import Field, Signature
from legion.worker.reading.scalars import READERS, Readers

_NAN = float("nan")
# Columns that may lack a value: it is NaN there, as in the DataFrame that MLflow makes.
_GAPPY = ("double", "float", "string", "datetime")
# Records may leave out so many values in all: each costs memory that the body did not.
_MOST_GAPS = 2**25

# What the quick decoder may read as the type's own value, with no conversion.
_QUICK_TYPES: Dict[str, Any] = {
    "double": Optional[float],
    "float": Optional[float],
    "long": int,
    "integer": int,
    "boolean": bool,
    "string": Optional[str],
}
_RANGES = {"long": (-(2**63), 2**63 - 1), "integer": (-(2**31), 2**31 - 1)}

Reorder = Optional[Callable[[Sequence[Any]], Tuple[Any, ...]]]


class RowReader:
    """Reads rows for one column signature."""

    def __init__(self, signature: Signature) -> None:
        self.fields: Tuple[Field, ...] = signature.inputs
        self.named = signature.named
        self.names: Optional[Tuple[str, ...]] = tuple(str(field.name) for field in self.fields) if self.named else None
        self._position = {field.name: i for i, field in enumerate(self.fields)} if self.named else {}
        self.kinds = tuple(field.type for field in self.fields)
        self.quick_row = self._quick_row()
        self.uniform = len({_QUICK_TYPES.get(kind) for kind in self.kinds}) == 1
        self._numbers_only = set(self.kinds) <= {"double", "float"}
        self._ranges = [(i, _RANGES[kind]) for i, kind in enumerate(self.kinds) if kind in _RANGES]
        self._texts = [i for i, kind in enumerate(self.kinds) if kind == "string"]

    def _quick_row(self) -> Any:
        """The type of one row for the typed decoder, or None where a column needs converting."""
        if not all(kind in _QUICK_TYPES for kind in self.kinds) or len(self.kinds) > 4096:
            return None
        return Tuple[tuple(_QUICK_TYPES[kind] for kind in self.kinds)]

    def order(self, columns: Optional[Sequence[Any]]) -> Tuple[Tuple[Field, ...], Reorder]:
        """The fields that a request with these columns brings, in the signature's order, and how to
        bring a row into it (None where it is in order already). Raises InputError.
        """
        if not self.named:
            width = len(self.fields) if columns is None else len(columns)
            if width != len(self.fields):
                raise InputError(f"the model takes {len(self.fields)} columns and the request has {width}")
            check_names(columns or ())
            return self.fields, None
        if columns is None:
            columns = self.names or ()
        given = {name for name in columns if isinstance(name, str)}
        missing = [f.name for f in self.fields if f.required and f.name not in given]
        unknown = [name for name in columns if not isinstance(name, str) or name not in self._position]
        if missing or unknown:
            raise InputError(_columns_fault(missing, unknown), column=str((missing or unknown)[0]))
        check_names(columns)
        present = sorted(range(len(columns)), key=lambda i: self._position[columns[i]])
        fields = tuple(self.fields[self._position[columns[i]]] for i in present)
        if present == list(range(len(columns))):
            return fields, None
        if len(present) == 1:
            return fields, lambda row: (row[0],)
        return fields, itemgetter(*present)

    def quick(self, rows: List[Sequence[Any]], reorder: Reorder) -> Table:
        """Rows that the typed decoder took, in the signature's order once reordered."""
        if reorder is not None:
            rows = [reorder(row) for row in rows]
        if self._ranges:
            for row_number, row in enumerate(rows):
                for i, (low, high) in self._ranges:
                    if not low <= row[i] <= high:
                        self._cell(self.fields[i], row[i], row_number, READERS)
        return Table(self.names, len(rows), rows=rows, mergeable=self._mergeable(rows, self._texts))

    def split(self, columns: Optional[Sequence[Any]], data: Any, readers: Readers = READERS) -> Table:
        """A list of rows under a list of column names."""
        if columns is not None and not isinstance(columns, list):
            raise InputError("'columns' must be a list of names")
        if not isinstance(data, list):
            raise InputError("'data' must be a list of rows")
        if columns is None and self.named and data and isinstance(data[0], list) and len(data[0]) != len(self.fields):
            raise InputError(f"row 0: {len(self.fields)} values expected, one a column, got {len(data[0])}", row=0)
        fields, reorder = self.order(columns)
        width = len(fields)
        rows: List[Sequence[Any]] = []
        for number, row in enumerate(data):
            if width == 1 and not isinstance(row, list):
                row = [row]
            if not isinstance(row, list) or len(row) != width:
                got = f"got {len(row)}" if isinstance(row, list) else "got no list"
                raise InputError(f"row {number}: {width} values expected, one a column, {got}", row=number)
            values = row if reorder is None else reorder(row)
            rows.append(tuple([self._cell(f, v, number, readers) for f, v in zip(fields, values)]))
        return self._table(fields, rows, columns)

    def records(self, data: Any, readers: Readers = READERS) -> Table:
        """A list of objects, one a row."""
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            raise InputError("rows as objects must be a list of objects, one a row")
        seen: Dict[str, None] = {}
        for item in data:
            seen.update(dict.fromkeys(item))
        columns = list(seen)
        fields, reorder = self.order(columns)
        names = columns if reorder is None else list(reorder(columns))
        if len(data) * len(columns) - sum(map(len, data)) > _MOST_GAPS:
            raise InputError(f"the rows leave out more than {_MOST_GAPS} values; send fewer rows at a time")
        rows: List[Sequence[Any]] = []
        for number, item in enumerate(data):
            if len(item) != len(seen):
                self._check_gaps(names, fields, item, number)
            row = [
                self._cell(f, item[name], number, readers) if name in item else _NAN for name, f in zip(names, fields)
            ]
            rows.append(tuple(row))
        return self._table(fields, rows, columns)

    def _check_gaps(self, names: List[str], fields: Tuple[Field, ...], item: Dict[str, Any], row: int) -> None:
        for name, field in zip(names, fields):
            if name not in item and (field.required or field.type not in _GAPPY):
                raise InputError(f"row {row}: the column {name!r} is missing", row=row, column=name)

    def columns(self, data: Dict[str, Any], readers: Readers = READERS) -> Table:
        """An object of columns, each a list of values; or of scalars, which make one row."""
        if not any(isinstance(values, list) for values in data.values()):
            return self.records([data], readers)
        lengths = {len(values) if isinstance(values, list) else 1 for values in data.values()}
        if len(lengths) > 1 or not all(isinstance(values, list) for values in data.values()):
            raise InputError("the columns are not of one length; send a list of equal length for each")
        return self.split(list(data), [list(row) for row in zip(*data.values())], readers)

    def array(self, columns: Sequence[str], arrays: Sequence[np.ndarray[Any, Any]]) -> Optional[Table]:
        """Whole numeric columns as one block, or None where they must be looked at value by value."""
        if not self._numbers_only or not all(a.dtype.kind == "f" for a in arrays):
            return None
        fields, reorder = self.order(list(columns))
        if len(fields) != len(self.fields):
            return None
        ordered = list(arrays) if reorder is None else list(reorder(arrays))
        return Table(self.names, len(ordered[0]), block=np.column_stack(ordered))

    def _cell(self, field: Field, value: Any, row: int, readers: Readers) -> Any:
        try:
            return readers[field.type](value)
        except ValueError as error:
            where = "" if field.name is None else f", column {field.name!r}"
            raise InputError(f"row {row}{where}: {error}", row=row, column=field.name) from None

    def _table(self, fields: Tuple[Field, ...], rows: List[Sequence[Any]], columns: Optional[Sequence[Any]]) -> Table:
        if self.named:
            names: Any = tuple(str(field.name) for field in fields)
        else:
            # Nothing to match them against, so the request's own names go to the model.
            names = None if columns is None else tuple(columns)
        texts = [i for i, field in enumerate(fields) if field.type == "string"]
        mergeable = all(field.type != "datetime" for field in fields) and self._mergeable(rows, texts)
        return Table(names, len(rows), rows=rows, mergeable=mergeable)

    @staticmethod
    def _mergeable(rows: List[Sequence[Any]], texts: List[int]) -> bool:
        """pandas types a column of text by all its cells, and reads its dates by the first: a text that is
        missing, or any date, would change what the model gets for another caller's rows.
        """
        return not texts or all(type(row[i]) is str for row in rows for i in texts)


def check_names(columns: Sequence[Any]) -> None:
    """Raise InputError unless these are names of columns, each there once."""
    if not all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in columns):
        raise InputError("'columns' must be a list of names")
    if len(set(columns)) != len(columns):
        twice = next(name for name, times in Counter(columns).items() if times > 1)
        raise InputError(f"the column {twice!r} is there twice; send each column once", column=str(twice))


def _columns_fault(missing: Sequence[Any], unknown: Sequence[Any]) -> str:
    parts = []
    if missing:
        parts.append(f"missing columns: {', '.join(repr(name) for name in missing[:20])}")
    if unknown:
        parts.append(f"unknown columns: {', '.join(repr(name)[:60] for name in unknown[:20])}")
    return "; ".join(parts) + "; send the columns of the model's signature"


def parse_json(body: bytes) -> Any:
    """The body as Python values, as MLflow's server reads it (NaN and Infinity included).

    Raises InputError for what is no JSON, is nested too deeply or holds a number of thousands of digits.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise InputError("the body is nested too deeply to be read", kind="syntax") from None
    except (ValueError, UnicodeDecodeError) as error:
        detail = str(error) if len(str(error)) < 200 else type(error).__name__
        raise InputError(f"the body is not valid JSON ({detail})", kind="syntax") from None


def raw_columns(text: bytes) -> Optional[List[Any]]:
    """A list of column names out of its JSON text."""
    columns = parse_json(text)
    if columns is not None and not isinstance(columns, list):
        raise InputError("'columns' must be a list of names")
    return columns
