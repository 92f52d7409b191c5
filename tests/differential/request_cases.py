"""Every request that both servers get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from body_cases import body_cases
from cell_cases import cell_cases
from scoring_case import Case
from scoring_models import answer_kinds
from shape_cases import shape_cases


def _rows(columns: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    names = list(columns)
    data = [list(row) for row in zip(*columns.values(), strict=True)]
    yield "split", {"dataframe_split": {"columns": names, "data": data}}
    yield "reversed", {"dataframe_split": {"columns": names[::-1], "data": [row[::-1] for row in data]}}
    yield "records", {"dataframe_records": [dict(zip(names, row, strict=True)) for row in data]}
    yield "instances", {"instances": [dict(zip(names, row, strict=True)) for row in data]}
    yield "inputs", {"inputs": columns}


def _estimators() -> Iterator[Case]:
    floats: dict[str, list[Any]] = {"a": [0.1, -2.5, 3], "b": [1, 1e-9, 0.30000000000000004], "c": [0, -0.0, 1e10]}
    integers: dict[str, list[Any]] = {"a": [1, -2, 3], "b": [10, 20, 30], "c": [2**53 - 1, 0, 5]}
    made: tuple[tuple[str, str, dict[str, list[Any]]], ...] = (
        ("linear", "plain", floats),
        ("multiple_targets", "plain", floats),
        ("classes", "plain", floats),
        ("probabilities", "plain", floats),
        ("integers", "plain", integers),
        ("integers", "whole-floats", {**integers, "c": [2.0, 3.0, 4.0]}),
        ("categories", "plain", {"colour": ["red", "white", "green"]}),
        ("categories", "null", {"colour": ["red", None, "white"]}),
        ("linear", "null", {**floats, "b": [None, 1, 2]}),
        ("linear", "text", {**floats, "b": [1, 2, "3"]}),
    )
    for model, label, columns in made:
        for form, body in _rows(columns):
            yield Case(f"{model}/estimator-{form}/{label}", json.dumps(body).encode())
    for kind in answer_kinds():
        yield Case(f"answers_{kind}/split/two-rows", b'{"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}')
        yield Case(f"answers_{kind}/split/no-rows", b'{"dataframe_split": {"columns": ["a"], "data": []}}')


def all_cases() -> list[Case]:
    """Every case; the names are unique."""
    cases = [*cell_cases(), *body_cases(), *shape_cases(), *_estimators()]
    assert len({case.name for case in cases}) == len(cases)
    return cases
