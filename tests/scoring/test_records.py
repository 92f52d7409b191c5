import csv
import io
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legion.errors import RefusedError
from legion.scoring.chunk import Limits
from legion.scoring.records import Cut, Records, cut_csv, cut_lines

PIECES = st.sampled_from(["a", "1.5", "é", " ", ",", '"', '""', "\n", "\r\n", '"\n"', '",\n"'])
CSV_TEXT = st.lists(PIECES, max_size=40).map("".join)


class Trickle(io.RawIOBase):
    """A stream that gives at most so many bytes a time, like a pipe."""

    def __init__(self, data: bytes, step: int) -> None:
        self._inner, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._inner.read(min(self._step, len(buffer)))
        buffer[: len(piece)] = piece
        return len(piece)


def all_blocks(data: bytes, *, size: int, rows: int | None = None, cut: Cut = cut_csv, step: int = 7) -> list[bytes]:
    records = Records(io.BufferedReader(Trickle(data, step)), cut, Limits(size=size, rows=rows), "in.csv")
    return list(iter(lambda: records.take(rows), b""))


def parsed(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def ends_inside_quotes(text: str) -> bool:
    return parsed(text + "\nend")[-1] != ["end"]


@given(text=CSV_TEXT, size=st.integers(1, 64), rows=st.none() | st.integers(1, 5), step=st.integers(1, 9))
def test_any_split_gives_the_records_that_csv_reader_gives(text: str, size: int, rows: int | None, step: int) -> None:
    if ends_inside_quotes(text):
        with pytest.raises(RefusedError, match="does not end"):
            all_blocks(text.encode(), size=size, rows=rows, step=step)
        return
    blocks = all_blocks(text.encode(), size=size, rows=rows, step=step)
    assert [record for block in blocks for record in parsed(block.decode())] == parsed(text)
    if rows is not None:
        assert all(len(parsed(block.decode())) <= rows for block in blocks)


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"")), min_size=1),
    size=st.integers(1, 64),
)
def test_lines_come_back_as_they_were(lines: list[bytes], size: int) -> None:
    data = b"x" + b"\n".join(lines)
    joined = b"".join(all_blocks(data, size=size, cut=cut_lines))
    assert joined == (data if data.endswith(b"\n") else data + b"\n")


def test_a_byte_order_mark_is_dropped_and_utf16_refused() -> None:
    assert all_blocks(b"\xef\xbb\xbfa,b\n", size=100) == [b"a,b\n"]
    with pytest.raises(RefusedError, match="UTF-16"):
        all_blocks("a,b\n".encode("utf-16"), size=100)


def test_line_numbers_follow_newlines_inside_quotes() -> None:
    records = Records(io.BytesIO(b'a\n"x\ny"\nb\n'), cut_csv, Limits(), "in.csv")
    lines = []
    while records.take(1):
        lines.append(records.line)
    assert lines == [2, 4, 5]


def test_a_quote_that_never_closes_is_refused_naming_its_line_and_not_read_to_the_end() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            buffer[:] = b"x" * len(buffer)
            self.given += len(buffer)
            return len(buffer)

    endless = Endless()
    head = io.BytesIO(b'a,b\n1,2\n3,"')

    class Both(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return head.readinto(buffer) or endless.readinto(buffer)

    limits = Limits(size=1024, record=100_000)
    records = Records(io.BufferedReader(Both()), cut_csv, limits, "in.csv")
    assert records.take(None) == b"a,b\n1,2\n"
    with pytest.raises(RefusedError, match="begins at line 3 is longer than 100,000 bytes"):
        records.take(None)
    assert endless.given < 1_000_000


def test_a_bare_carriage_return_is_refused_not_taken_for_one_long_header() -> None:
    with pytest.raises(RefusedError, match="LF or CRLF"):
        all_blocks(b"a,b\r1,2\r3,4\r", size=100)


@pytest.mark.parametrize("text", [b'"' * 2_000_000, b'","' * 700_000, b'""a' * 700_000, b'a,"b""' * 350_000])
def test_hostile_quotes_cost_linear_time(text: bytes) -> None:
    begin = time.perf_counter()
    with suppress(RefusedError):
        all_blocks(text, size=1 << 20, step=1 << 20)
    assert time.perf_counter() - begin < 5
