"""What a model is given: rows of scalars in the signature's order, or objects as they came."""

from __future__ import annotations

from itertools import chain
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np


class Table:
    """`n` rows. Exactly one of these holds them:

    - `rows`: a list of rows (sequences of scalars, in the order of `names`);
    - `block`: an ndarray of shape (n, len(names)) and one numeric type;
    - `objects`: a list of dicts, for models that take objects.

    `names` is None where the columns have no names. `mergeable` is False where other rows in the same
    table would change what the model gets for these.
    """

    __slots__ = ("block", "mergeable", "n", "names", "objects", "rows")

    def __init__(
        self,
        names: Optional[Tuple[str, ...]],
        n: int,
        *,
        rows: Optional[List[Sequence[Any]]] = None,
        block: Optional[np.ndarray[Any, Any]] = None,
        objects: Optional[List[Any]] = None,
        mergeable: bool = True,
    ) -> None:
        self.names = names
        self.n = n
        self.rows = rows
        self.block = block
        self.objects = objects
        self.mergeable = mergeable

    def matrix(self, dtype: Any) -> np.ndarray[Any, Any]:
        """The rows as one array of shape (n, columns). Raises ValueError, TypeError or OverflowError."""
        if self.block is not None:
            return self.block.astype(dtype, copy=False)
        if not self.rows and self.names is not None:
            return np.empty((0, len(self.names)), dtype)
        return np.array(self.rows, dtype=dtype)

    def pieces(self) -> List[Table]:
        """The same rows, one a table."""
        if self.block is not None:
            return [Table(self.names, 1, block=self.block[i : i + 1]) for i in range(self.n)]
        if self.objects is not None:
            return [Table(self.names, 1, objects=[item]) for item in self.objects]
        return [Table(self.names, 1, rows=[row]) for row in self.rows or ()]


def concatenate(tables: List[Table]) -> Table:
    """Tables of like columns, one below the other."""
    first = tables[0]
    n = sum(table.n for table in tables)
    if all(table.rows is not None for table in tables):
        return Table(first.names, n, rows=list(chain.from_iterable(t.rows or () for t in tables)))
    if first.objects is not None:
        return Table(first.names, n, objects=list(chain.from_iterable(t.objects or () for t in tables)))
    # Rows are of Python's floats; nobody's values are narrowed to another's type.
    dtype = np.result_type(*(np.float64 if t.block is None else t.block.dtype for t in tables))
    return Table(first.names, n, block=np.concatenate([t.matrix(dtype) for t in tables]))


def alike(one: Table, other: Table) -> bool:
    """Whether two tables may be merged: the same columns, and both objects or neither."""
    if not (one.mergeable and other.mergeable):
        return False
    return one.names == other.names and (one.objects is None) == (other.objects is None)
