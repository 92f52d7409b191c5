"""Predictions as JSON lines: `{"prediction": …}` a row."""

from __future__ import annotations

from typing import Any, BinaryIO

import msgspec

from legion.scoring.predictions import Predictions


class _Line(msgspec.Struct, gc=False):
    prediction: Any


class JsonLinesWriter:
    """Any prediction fits."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._encode = msgspec.json.Encoder().encode_lines

    def write(self, predictions: Predictions) -> None:
        """Append predictions."""
        if predictions.numbers is not None:
            numbers = predictions.numbers.replace(b",", b'}\n{"prediction":')
            self._stream.write(b'{"prediction":' + numbers + b"}\n")
        else:
            self._stream.write(self._encode([_Line(value) for value in predictions.values]))

    def finish(self) -> None:
        """Nothing to add."""
