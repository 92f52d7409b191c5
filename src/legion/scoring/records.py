"""Cut a stream of bytes between records, in constant memory and at the speed of a regular expression."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import BinaryIO

from legion.errors import RefusedError
from legion.scoring.chunk import Limits

# A field is quoted only if its first character is a quote, the rule of Python's csv and of pandas. The
# possessive quantifiers (*+) forbid backtracking: the time is linear whatever the input.
_FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"[^,\r\n]*+|[^",\r\n][^,\r\n]*+)?+'
_CSV = rb'(?:[^"\r\n]*+\r?\n|(?:' + _FIELD + rb",)*+" + _FIELD + rb"\r?\n)"
_LINE = rb"[^\n]*+\n"

CSV_RECORD = re.compile(_CSV)
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Cut = Callable[[bytes, int, "int | None"], int]


@lru_cache
def _at_most(record: bytes, rows: int | None) -> re.Pattern[bytes]:
    count = b"*+" if rows is None else b"{0,%d}+" % rows
    return re.compile(b"(?:" + record + b")" + count)


def _end(record: bytes, data: bytes, start: int, rows: int | None) -> int:
    match = _at_most(record, rows).match(data, start)
    return start if match is None else match.end()


def cut_csv(data: bytes, start: int, rows: int | None) -> int:
    """Where the last whole record of at most `rows` ends; `start`, where one begins, if none is whole."""
    if rows is None and data.find(b'"', start) < 0 and data.find(b"\r", start) < 0:
        return max(data.rfind(b"\n", start) + 1, start)
    return _end(_CSV, data, start, rows)


def cut_lines(data: bytes, start: int, rows: int | None) -> int:
    """The same for records that are plain lines."""
    if rows is None:
        return max(data.rfind(b"\n", start) + 1, start)
    return _end(_LINE, data, start, rows)


class Records:
    """Whole records from a stream. `name` is what errors call it; `line` counts from 1, at the next record.

    A byte order mark is dropped, and the last record is given the line end it may lack.
    """

    def __init__(self, stream: BinaryIO, cut: Cut, limits: Limits, name: str) -> None:
        self._stream, self._cut, self._limits, self._name = stream, cut, limits, name
        self._data = stream.read(len(_BOM)).removeprefix(_BOM)
        self._start = 0
        self.line = 1
        if self._data.startswith(_UTF16):
            raise RefusedError(f"{name} is UTF-16; write it as UTF-8")

    def take(self, rows: int | None) -> bytes:
        """The next records, about `limits.size` bytes of them and at most `rows`; empty at the end.

        Raises RefusedError for a record that does not end, or is longer than `limits.record`.
        """
        while True:
            end = self._cut(self._data, self._start, rows)
            if end > self._start:
                return self._give(end)
            rest = self._data[self._start :]
            if len(rest) > self._limits.record:
                raise self._endless(f"is longer than {self._limits.record:,} bytes")
            # At least as much again, so that a long record is not looked through too often.
            more = self._stream.read(max(self._limits.size - len(rest), len(rest), 1))
            self._data, self._start = rest + more, 0
            if not more:
                return self._last(rows)

    def _last(self, rows: int | None) -> bytes:
        if not self._data:
            return b""
        self._data += b"\n"
        if self._cut(self._data, 0, rows) < len(self._data):
            raise self._endless("does not end")
        return self._give(len(self._data))

    def _give(self, end: int) -> bytes:
        block = self._data[self._start : end]
        self._start = end
        self.line += block.count(b"\n")
        return block

    def _endless(self, what: str) -> RefusedError:
        return RefusedError(
            f"{self._name}: the record that begins at line {self.line:,} {what}; "
            "look there for a quote that is not closed or a line end that is not LF or CRLF"
        )
