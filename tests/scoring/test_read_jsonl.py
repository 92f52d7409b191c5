import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legion.errors import RefusedError
from legion.scoring.chunk import Chunk, Limits
from legion.scoring.read_jsonl import read_jsonl

ROW = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9))


def chunks(data: bytes, **limits: Any) -> list[Chunk]:
    return list(read_jsonl(io.BytesIO(data), Limits(**limits), "in.jsonl"))


@given(rows=st.lists(ROW, max_size=12), size=st.integers(1, 200), limit=st.none() | st.integers(1, 4))
def test_every_row_arrives_once_and_in_order(rows: list[dict[str, Any]], size: int, limit: int | None) -> None:
    data = "\n".join(map(json.dumps, rows)).encode()
    found = chunks(data, size=size, rows=limit)
    bodies = [json.loads(chunk.call.body) for chunk in found]
    assert [row for body in bodies for row in body["dataframe_records"]] == rows
    assert [chunk.rows for chunk in found] == [len(body["dataframe_records"]) for body in bodies]


def test_empty_lines_are_skipped_and_lines_numbered_as_in_the_file() -> None:
    found = chunks(b'\n{"a":1}\r\n\n  {"a":2} \n', size=5)
    assert [n for chunk in found for n in (chunk.lines or list)()] == [2, 4]


def test_an_empty_file_has_no_rows() -> None:
    assert chunks(b"") == []


def test_nan_is_left_to_the_worker() -> None:
    (chunk,) = chunks(b'{"a": NaN}\n')
    assert chunk.call.body == b'{"dataframe_records":[{"a": NaN}]}'


@pytest.mark.parametrize(
    "line", [b"[1]", b"1", b'{"a":1', b'"b":2}', b'{"a":1},{"a":2}', b'{"a":1}{"a":2}', b"x", b"[" * 100_000]
)
def test_a_line_that_is_not_one_object_is_named(line: bytes) -> None:
    with pytest.raises(RefusedError, match=r"in\.jsonl, line 3 is not"):
        chunks(b'{"a":1}\n\n' + line + b"\n")


def test_objects_split_over_lines_do_not_pass_for_others() -> None:
    # Joined with commas these three lines would be three objects.
    with pytest.raises(RefusedError, match="line 1 is not JSON"):
        chunks(b'{"a":1\n"b":2}\n{"a":1},{"a":2}\n')
