"""The example on the docs page is a small one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from legion.provision.example import MAX_EXAMPLE, example

LONG = "x" * MAX_EXAMPLE


@pytest.fixture
def shown(tmp_path: Path) -> Any:
    def show(*requests: dict[str, Any]) -> dict[str, Any] | None:
        path = tmp_path / "legion.golden.json"
        cases = [{"request": request, "response": {}} for request in requests]
        path.write_text(json.dumps({"format": 1, "deterministic": True, "cases": cases}))
        return example(path)

    return show


def test_it_is_the_first_request_with_one_row(shown: Any) -> None:
    split = {"columns": ["a"], "data": [[1.0], [2.0]], "index": [0, 1]}
    assert shown({"dataframe_split": split}, {"inputs": [7]}) == {
        "dataframe_split": {"columns": ["a"], "data": [[1.0]]}
    }


def test_rows_that_may_belong_together_stay_together(shown: Any) -> None:
    assert shown({"instances": [[1.0], [2.0]]}) == {"instances": [[1.0], [2.0]]}


@pytest.mark.parametrize("form", ["dataframe_records", "instances"])
def test_a_large_one_is_cut(shown: Any, form: str) -> None:
    assert shown({form: [{"a": "short"}, {"a": LONG}]}) == {form: [{"a": "short"}]}


@pytest.mark.parametrize(
    "request_", [{"inputs": LONG}, {"instances": [LONG]}, {"dataframe_split": {"columns": ["a"], "data": [[LONG]]}}]
)
def test_one_whose_first_row_is_large_is_left_out(shown: Any, request_: dict[str, Any]) -> None:
    assert shown(request_) is None


def test_there_may_be_none(shown: Any, tmp_path: Path) -> None:
    assert example(tmp_path / "nowhere.json") is None
    assert shown() is None
