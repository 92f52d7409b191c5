"""JSON lines: one object a line; the lines of a chunk become one request of MLflow's protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO

import msgspec

from legion import wire
from legion.errors import RefusedError
from legion.scoring.chunk import Chunk, Limits
from legion.scoring.records import Records, cut_lines


class _Row(msgspec.Struct):
    """Any object: unknown fields are checked and skipped."""


_check = msgspec.json.Decoder(_Row).decode


def read_jsonl(stream: BinaryIO, limits: Limits, name: str) -> Iterator[Chunk]:
    """Chunks of a file with one JSON object a line; empty lines are skipped.

    Raises RefusedError naming the first line that is anything else.
    """
    records = Records(stream, cut_lines, limits, name)
    while True:
        first = records.line
        block = records.take(limits.rows)
        if not block:
            return
        lines = [line for line in block.split(b"\n") if line.strip()]
        if not lines:
            continue
        find = partial(_line_numbers, block, first)
        _check_lines(lines, find, name)
        body = b'{"dataframe_records":[' + b",".join(lines) + b"]}"
        yield Chunk(wire.Call(wire.MLFLOW, body, "application/json"), len(lines), len(block), find)


def _line_numbers(block: bytes, first: int) -> Sequence[int]:
    return [number for number, line in enumerate(block.split(b"\n"), first) if line.strip()]


def _check_lines(lines: list[bytes], find: partial[Sequence[int]], name: str) -> None:
    try:
        for line in lines:
            _check(line)
    except msgspec.DecodeError:
        for number, line in zip(find(), lines, strict=True):
            _check_line(line, f"{name}, line {number:,}")


def _check_line(line: bytes, place: str) -> None:
    try:
        # More lenient than msgspec: NaN and Infinity, which Python writes, are the worker's to judge.
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{place} is not JSON ({error}); write one object a line") from None
    if not isinstance(row, dict):
        raise RefusedError(f'{place} is not a JSON object; write one object a line, such as {{"x": 1.0}}')
