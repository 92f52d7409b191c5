"""Predictions as CSV: a header, then one record a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

from legion.scoring.layout import SINGLE, cells, names_of

_NUMBERS = {float, int}


class CsvWriter:
    """Missing values are empty, nested ones are JSON in their cell."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._names: list[str] | None = None
        self._rows: int | None = None

    def write(self, rows: Sequence[Any]) -> None:
        """Append predictions. Raises RefusedError for one that does not fit those before it."""
        if not rows:
            return
        if self._rows is None:
            self._start(names_of(rows))
        assert self._rows is not None
        if self._names is None and _NUMBERS.issuperset(map(type, rows)):
            self._stream.write(("\n".join(map(repr, rows)) + "\n").encode())
        else:
            self._records(cells(rows, self._names, self._rows))
        self._rows += len(rows)

    def finish(self) -> None:
        """Leave a file without rows its header."""
        if self._rows is None:
            self._start(None)

    def _start(self, names: list[str] | None) -> None:
        self._names, self._rows = names, 0
        self._records([names or [SINGLE]])

    def _records(self, table: Sequence[Sequence[Any]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([_cell(value) for value in row] for row in table)
        self._stream.write(text.getvalue().encode("utf-8"))


def _cell(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, (list, dict)) else value
