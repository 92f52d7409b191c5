"""Rows under a column signature: matched by name, checked cell by cell, refused with row and column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from legion.errors import InputError
from legion.signature import Field, Signature
from legion.worker.reading.rows import RowReader, parse_json

ROWS = RowReader(Signature((Field("a", "double"), Field("s", "string"), Field("n", "long", required=False))))
UNNAMED = RowReader(Signature((Field(None, "double"), Field(None, "string"))))


def refusal(read: Any, *args: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read(*args)
    return caught.value


def test_columns_are_matched_by_name_in_any_order() -> None:
    table = ROWS.split(["n", "a", "s"], [[1, 2, "x"], [3.0, 4.5, None]])
    assert (table.names, table.rows) == (("a", "s", "n"), [(2.0, "x", 1), (4.5, None, 3)])
    assert ROWS.split(["s", "a"], [["x", 2]]).rows == [(2.0, "x")]
    assert ROWS.split(["s", "a"], [["x", 2]]).names == ("a", "s")
    assert ROWS.split(None, [[1, "x", 2]]).rows == [(1.0, "x", 2)]


def test_records_and_columns_are_the_same_rows() -> None:
    expected = ROWS.split(["a", "s", "n"], [[1, "x", 2], [3, "y", 4]]).rows
    assert ROWS.records([{"a": 1, "s": "x", "n": 2}, {"n": 4, "s": "y", "a": 3}]).rows == expected
    assert expected is not None
    assert ROWS.columns({"n": [2, 4], "s": ["x", "y"], "a": [1, 3]}).rows == expected
    assert ROWS.columns({"a": 1, "s": "x", "n": 2}).rows == expected[:1]


def test_rows_without_column_names_keep_the_request_s_own() -> None:
    assert UNNAMED.split(["p", "q"], [[1, "x"]]).names == ("p", "q")
    assert UNNAMED.split(None, [[1, "x"]]).names is None
    # By name, not by place: the second object has its keys the other way round.
    assert UNNAMED.records([{"p": 1, "q": "x"}, {"q": "y", "p": 2}]).rows == [(1.0, "x"), (2.0, "y")]


@pytest.mark.parametrize(
    ("columns", "data", "message", "row", "column"),
    [
        (["a"], [[1]], "missing columns: 's'; send", None, "s"),
        (["a", "s", "z"], [[1, "x", 2]], "unknown columns: 'z'; send", None, "z"),
        (["A", "s"], [[1, "x"]], "missing columns: 'a'; unknown columns: 'A'; send", None, "a"),
        (["a", "s", "s"], [[1, "x", "y"]], "the column 's' is there twice", None, "s"),
        (["a", 5], [[1, 2]], "missing columns: 's'; unknown columns: 5", None, "s"),
        ("as", [[1, "x"]], "'columns' must be a list", None, None),
        (["a", "s"], [[1, "x"], ["2", "y"]], "row 1, column 'a': expected a number, got the text '2'", 1, "a"),
        (["s", "a"], [["x", True]], "row 0, column 'a': expected a number, got true", 0, "a"),
        (["a", "s"], [[1, "x"], [2]], "row 1: 2 values expected, one a column, got 1", 1, None),
        (["a", "s"], [[1, "x"], None], "row 1: 2 values expected, one a column, got no list", 1, None),
        (None, [[1, "x"]], "row 0: 3 values expected", 0, None),
        (["a", "s"], None, "'data' must be a list of rows", None, None),
        (["a", "s", "n"], [[1, "x", None]], "row 0, column 'n': expected a whole number, got null", 0, "n"),
    ],
)
def test_a_refusal_names_row_and_column(columns: Any, data: Any, message: str, row: Any, column: Any) -> None:
    error = refusal(ROWS.split, columns, data)
    assert message in str(error)
    assert (error.row, error.column) == (row, column)


def test_a_record_without_a_column() -> None:
    error = refusal(ROWS.records, [{"a": 1, "s": "x"}, {"a": 1}])
    assert (str(error), error.row, error.column) == ("row 1: the column 's' is missing", 1, "s")
    error = refusal(ROWS.records, [{"a": 1, "s": "x", "n": 1}, {"a": 1, "s": "x"}])
    assert error.column == "n", "a whole number cannot be missing"
    gappy = RowReader(Signature((Field("a", "double"), Field("b", "string", required=False))))
    rows = gappy.records([{"a": 1, "b": "x"}, {"a": 1}]).rows
    assert rows is not None
    assert math.isnan(rows[1][1])


def test_records_that_leave_out_more_than_memory_should_hold() -> None:
    wide = RowReader(Signature(tuple(Field(f"c{i}", "double", required=False) for i in range(1000))))
    full = dict.fromkeys((f"c{i}" for i in range(1000)), 1)
    assert wide.records([full, *[{}] * 10]).n == 11
    assert "leave out more than" in str(refusal(wide.records, [full, *[{}] * 40_000]))


def test_columns_of_different_length() -> None:
    assert "one length" in str(refusal(ROWS.columns, {"a": [1, 2], "s": ["x"]}))
    assert "one length" in str(refusal(ROWS.columns, {"a": [1], "s": "x"}))


def test_only_rows_that_stay_the_same_among_others_are_merged() -> None:
    assert ROWS.split(["a", "s"], [[1, "x"]]).mergeable
    # With other rows beside it, pandas would make another type of the column.
    assert not ROWS.split(["a", "s"], [[1, None]]).mergeable
    # And read this date in the order that another's first date has.
    assert not RowReader(Signature((Field("t", "datetime"),))).split(["t"], [["01/02/2024"]]).mergeable


def test_whole_columns_become_one_block() -> None:
    rows = RowReader(Signature((Field("a", "double"), Field("b", "double"))))
    table = rows.array(["b", "a"], [np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    assert table is not None
    assert table.block is not None
    np.testing.assert_array_equal(table.block, [[3.0, 1.0], [4.0, 2.0]])
    assert rows.array(["a", "b"], [np.array([1]), np.array([2])]) is None
    assert ROWS.array(["a", "s"], [np.array([1.0]), np.array([2.0])]) is None
    assert refusal(rows.array, ["a"], [np.array([1.0])]).column == "b"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b'{"a": 01}', b"\xef\xbb\xbf"])
def test_what_is_no_json_is_refused_in_one_sentence(body: bytes) -> None:
    error = refusal(parse_json, body)
    assert error.kind == "syntax"
    assert len(str(error)) < 300
