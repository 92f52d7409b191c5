"""Predictions as CSV: a header, then one record a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

from legion.scoring.layout import SINGLE, cells, names_of
from legion.scoring.predictions import Predictions


class CsvWriter:
    """Missing values are empty, nested ones are JSON in their cell."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._names: list[str] | None = None
        self._rows: int | None = None

    def write(self, predictions: Predictions) -> None:
        """Append predictions. Raises RefusedError for one that does not fit those before it."""
        if not predictions.rows:
            return
        if self._rows is None:
            self._start(None if predictions.numbers else names_of(predictions.values))
        assert self._rows is not None
        if self._names is None and predictions.numbers is not None:
            self._stream.write(predictions.numbers.replace(b",", b"\n") + b"\n")
        else:
            self._records(cells(predictions.values, self._names, self._rows))
        self._rows += predictions.rows

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
