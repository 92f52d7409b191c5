import csv
import io
from typing import Any

import pytest

from legion import wire
from legion.errors import RefusedError
from legion.scoring.chunk import Chunk, Limits
from legion.scoring.read_csv import read_csv


def chunks(data: bytes, **limits: Any) -> list[Chunk]:
    return list(read_csv(io.BytesIO(data), Limits(**limits), "in.csv"))


def rows(data: bytes, **limits: Any) -> list[list[str]]:
    """The records that the workers would see, every chunk read alone."""
    found: list[list[str]] = []
    for chunk in chunks(data, **limits):
        header, *records = [r for r in csv.reader(io.StringIO(chunk.call.body.decode(), newline="")) if r]
        assert header == ["a", "b"]
        found += records
    return found


def lines_of(chunk: Chunk) -> list[int]:
    assert chunk.lines is not None
    return list(chunk.lines())


@pytest.mark.parametrize("size", [1, 8, 1000])
@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,2\n3,4\n",
        b"a,b\n1,2\n3,4",
        b"a,b\r\n1,2\r\n3,4\r\n",
        b"\xef\xbb\xbfa,b\n1,2\n3,4\n",
        b'"a","b"\n"1","2"\n"3","4"',
        b"\n\na,b\n\n1,2\n\n3,4\n\n",
    ],
)
def test_every_spelling_gives_the_same_rows(data: bytes, size: int) -> None:
    assert rows(data, size=size) == [["1", "2"], ["3", "4"]]


def test_calls_are_csv_requests_of_mlflows_protocol() -> None:
    (chunk,) = chunks(b"a,b\n1,2\n")
    assert chunk.call == wire.Call(wire.MLFLOW, b"a,b\n1,2\n", "text/csv")


def test_quoted_newlines_stay_in_their_record_and_are_not_counted_as_rows() -> None:
    data = b'a,b\n"x\ny",1\n"p\r\nq","say ""hi"""\n'
    assert rows(data, size=1) == [["x\ny", "1"], ["p\r\nq", 'say "hi"']]
    (chunk,) = chunks(data)
    assert lines_of(chunk) == [2, 4]


def test_lines_skip_what_is_empty_and_go_on_over_chunks() -> None:
    lines = [n for chunk in chunks(b"a,b\n1,2\n\n3,4\r\n\r\n5,6", size=6) for n in lines_of(chunk)]
    assert lines == [2, 4, 6]


def test_a_line_of_blanks_is_empty_among_several_columns_and_a_value_in_one() -> None:
    (several,) = chunks(b"a,b\n1,2\n \t\n3,4\n")
    assert lines_of(several) == [2, 4]
    (one,) = chunks(b"a\nx\n \n\ny\n")
    assert lines_of(one) == [2, 3, 5]


def test_progress_adds_up_to_the_file() -> None:
    data = b"a,b\n" + b"1,2\n" * 1000
    assert sum(chunk.size for chunk in chunks(data, size=100)) == len(data)


def test_chunk_rows_is_kept() -> None:
    assert [chunk.rows for chunk in chunks(b"a,b\n" + b"1,2\n" * 10, rows=4)] == [4, 4, 2]


def test_a_header_alone_is_no_rows() -> None:
    assert chunks(b"a,b\n") == []
    assert chunks(b"a,b") == []


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match=r"in\.csv is empty"):
        chunks(data)


def test_a_quote_open_at_the_end_is_refused_naming_its_line() -> None:
    with pytest.raises(RefusedError, match="begins at line 3 does not end"):
        chunks(b'a,b\n1,2\n3,"4\n5,6\n')
