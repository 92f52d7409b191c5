"""Predictions as named columns, for the table formats. The first rows decide; the rest must agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from legion.errors import RefusedError

SINGLE = "prediction"


def names_of(rows: Sequence[Any]) -> list[str] | None:
    """Column names for rows like the first: dict keys, `prediction_0`… for lists, None for plain values."""
    first = rows[0]
    if isinstance(first, dict):
        return list(first)
    if isinstance(first, list):
        return [f"{SINGLE}_{i}" for i in range(len(first))]
    return None


def cells(rows: Sequence[Any], names: list[str] | None, first: int) -> list[Sequence[Any]]:
    """Every row as the values of its columns; `first` is the file's number of the first one.

    Raises RefusedError for a row of another shape.
    """
    if names is None:
        if bad := [i for i, row in enumerate(rows) if isinstance(row, (dict, list))]:
            raise _unlike(first + bad[0])
        return [(row,) for row in rows]
    table: list[Sequence[Any]] = []
    for number, row in enumerate(rows, first):
        if isinstance(row, dict) and row.keys() == set(names):
            table.append([row[name] for name in names])
        elif isinstance(row, list) and len(row) == len(names):
            table.append(row)
        else:
            raise _unlike(number)
    return table


def _unlike(number: int) -> RefusedError:
    return RefusedError(
        f"the prediction of row {number} has another shape than those before it; "
        "a table cannot hold both, write JSON lines (--output-format jsonl)"
    )
