"""CSV: blocks of whole records, each with the header in front, so that a worker reads it like a request."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO

from legion import wire
from legion.errors import RefusedError
from legion.scoring.chunk import Chunk, Limits
from legion.scoring.records import CSV_RECORD, Records, cut_csv

_EMPTY = b"\r\n"
_BLANKS = b" \t\r\n"


def read_csv(stream: BinaryIO, limits: Limits, name: str) -> Iterator[Chunk]:
    """Chunks of a UTF-8 CSV with a header, separated by commas (RFC 4180; LF or CRLF).

    Raises RefusedError where the file has no header or a record does not end.
    """
    records = Records(stream, cut_csv, limits, name)
    size = len(header := _header(records, name))
    # With several columns a line of blanks counts as empty, as it does for pandas and for the worker.
    empty = _BLANKS if len(next(csv.reader([header.decode("utf-8", "replace")]))) > 1 else _EMPTY
    while block := records.take(limits.rows):
        breaks = block.count(b"\n")
        call = wire.Call(wire.MLFLOW, header + block, "text/csv")
        yield Chunk(call, breaks, size + len(block), partial(record_lines, block, records.line - breaks, empty))
        size = 0


def _header(records: Records, name: str) -> bytes:
    while record := records.take(1):
        if record.strip(_EMPTY):
            return record
    raise RefusedError(f"{name} is empty; a CSV needs a header line that names the columns")


def record_lines(block: bytes, line: int, empty: bytes) -> Sequence[int]:
    """The line where every record of a block begins; `line` is its first. Lines of `empty` alone are no records."""
    starts = []
    for match in CSV_RECORD.finditer(block):
        record = match[0]
        if record.strip(empty):
            starts.append(line)
        line += record.count(b"\n")
    return starts
