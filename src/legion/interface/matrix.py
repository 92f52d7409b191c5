"""The argument of a model that takes a matrix."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from legion.interface.table import Table

_DTYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}


def block_of(table: Table, kinds: Sequence[str]) -> Any:
    """An ndarray of shape (n, columns): of one numeric type where the columns allow it, else of objects.

    `kinds` are the columns' types by the signature, if there is one: then the array's type is the same whatever rows
    are merged. Raises ValueError, TypeError or OverflowError where a value does not fit its column's type.
    """
    if table.block is not None:
        return table.block
    rows = table.rows or []
    width = len(rows[0]) if rows else len(table.names or kinds)
    if kinds and set(kinds) <= set(_DTYPES):
        dtype = np.result_type(*(np.dtype(_DTYPES[kind]) for kind in kinds))
        return table.matrix(dtype).reshape(table.n, width)
    found = {type(value) for row in rows for value in row}
    if rows and (not kinds or "any" in kinds) and (found <= {int, float} or found in ({bool}, {str})):
        return np.array(rows)
    matrix = np.empty((table.n, width), dtype=object)
    for i, row in enumerate(rows):
        matrix[i] = row
    return matrix
