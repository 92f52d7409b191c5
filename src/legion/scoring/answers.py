"""What a worker answered: one prediction a row, or the place in the file where it said no."""

from __future__ import annotations

import re

import msgspec

from legion.errors import RefusedError, WorkerError
from legion.scoring.chunk import Chunk
from legion.scoring.predictions import Predictions, read_predictions
from legion.wire import Reply


class _Refusal(msgspec.Struct):
    message: str = "no reason given"


_refusal = msgspec.json.Decoder(_Refusal).decode
# How a worker begins a message about one row of its call.
_ROW = re.compile(r"row (\d+)[,:] *")


def predictions_of(reply: Reply, chunk: Chunk, first: int, name: str) -> Predictions:
    """The predictions of a chunk whose first row is the file's row `first` (from 0), one a row.

    Raises RefusedError where the worker refused a row or answered another number of rows, WorkerError
    where the model failed.
    """
    if reply.status != 200:
        raise _error(reply, chunk, first, name)
    found = read_predictions(reply.body)
    if found.rows != chunk.rows and (chunk.lines is None or found.rows != len(chunk.lines())):
        expected = chunk.rows if chunk.lines is None else len(chunk.lines())
        raise RefusedError(
            f"the model gave {found.rows:,} predictions for the {expected:,} rows from row {first:,} of "
            f"{name}; batch prediction needs a model that answers every row"
        )
    return found


def _error(reply: Reply, chunk: Chunk, first: int, name: str) -> RefusedError | WorkerError:
    try:
        refusal = _refusal(reply.body)
    except msgspec.DecodeError:
        refusal = _Refusal(reply.body[:200].decode("utf-8", "replace"))
    # What a model's own exception says beyond its first line is advice to its author.
    text = next(iter(refusal.message.splitlines()), "no reason given")
    match = _ROW.match(text)
    row = int(match[1]) if match else None
    message = text[match.end() :] if match else text
    kind = WorkerError if reply.status >= 500 else RefusedError
    if row is None:
        return kind(f"{name}, rows {first} to {first + chunk.rows - 1}: {message}")
    place = f"{name}, row {first + row}"
    if chunk.lines is not None and row < len(lines := chunk.lines()):
        place += f" (line {lines[row]})"
    return kind(f"{place}: {message}")
