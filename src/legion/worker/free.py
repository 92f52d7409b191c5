"""Rows for a model that declares no signature: the request's own columns, one width throughout."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from legion.errors import InputError
from legion.interface.table import Table
from legion.signature import Signature
from legion.worker.cells import Readers


class FreeReader:
    """As RowReader, without anything to hold the columns against."""

    names: Optional[Tuple[str, ...]] = None
    kinds: Tuple[str, ...] = ()
    quick_row = None

    def __init__(self, signature: Signature) -> None:
        self.fields = signature.inputs

    def split(self, columns: Optional[Sequence[Any]], data: Any, readers: Optional[Readers] = None) -> Table:
        """A list of rows under a list of column names, which may be left out."""
        if columns is not None and not (isinstance(columns, list) and all(isinstance(c, str) for c in columns)):
            raise InputError("'columns' must be a list of names")
        if isinstance(data, list) and not any(isinstance(row, (list, dict)) for row in data):
            # One column, its values in a row.
            data = [[value] for value in data]
        if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
            raise InputError("'data' must be a list of rows, each a list of values")
        width = len(columns) if columns is not None else len(data[0]) if data else 0
        for number, row in enumerate(data):
            if len(row) != width:
                raise InputError(f"row {number}: {width} values expected, one a column, got {len(row)}", row=number)
        if columns is not None and len(set(columns)) != len(columns):
            raise InputError("a column is there twice; send each column once")
        return Table(None if columns is None else tuple(columns), len(data), rows=data, mergeable=_floats(data))

    def records(self, data: Any, readers: Optional[Readers] = None) -> Table:
        """A list of objects of the same keys, one a row."""
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            raise InputError("rows as objects must be a list of objects, one a row")
        columns = list(data[0]) if data else []
        for number, item in enumerate(data):
            if set(item) != set(columns):
                raise InputError(f"row {number}: its columns are not those of row 0", row=number)
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


def _floats(rows: List[List[Any]]) -> bool:
    """Whether an array of these rows is of floats, whatever rows of floats it is merged with."""
    kinds = {type(value) for row in rows for value in row}
    return float in kinds and kinds <= {int, float}


def objects_of(data: Any) -> List[Any]:
    """A list of objects for a model that takes objects."""
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise InputError("this model takes a list of objects, one a row")
    return data
