"""Predictions as JSON lines: `{"prediction": …}` a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec


class _Line(msgspec.Struct, gc=False):
    prediction: Any


class JsonLinesWriter:
    """Any prediction fits."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._encode = msgspec.json.Encoder().encode_lines

    def write(self, rows: Sequence[Any]) -> None:
        """Append predictions."""
        self._stream.write(self._encode([_Line(row) for row in rows]))

    def finish(self) -> None:
        """Nothing to add."""
