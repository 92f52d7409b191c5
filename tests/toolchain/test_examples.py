"""Example requests come from the input example, or are drawn from the signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from legion.signature import SCALARS, Field, Signature
from legion.toolchain.examples import LEAST, MOST, example_requests

TWO = Signature(inputs=(Field("a", "double"), Field("b", "long")))


def write_example(folder: Path, body: Any) -> str:
    (folder / "example.json").write_text(json.dumps(body))
    return "example.json"


def rows(requests: list[dict[str, Any]]) -> list[list[Any]]:
    return [row for request in requests for row in request["dataframe_split"]["data"]]


def test_one_example_row_gets_variations(tmp_path: Path) -> None:
    name = write_example(tmp_path, {"dataframe_split": {"columns": ["a", "b"], "data": [[2.0, 5]]}})
    requests = example_requests(tmp_path, TWO, name)
    found = rows(requests)
    assert found[0] == [2.0, 5]
    assert len(found) >= LEAST
    assert len({tuple(row) for row in found}) == len(found)
    assert all(isinstance(a, float) and isinstance(b, int) for a, b in found)


def test_many_example_rows_are_cut_and_params_are_kept(tmp_path: Path) -> None:
    table: dict[str, list[Any]] = {"columns": ["a", "b"], "data": [[float(n), n] for n in range(100)]}
    name = write_example(tmp_path, {"dataframe_split": table, "params": {"k": 1}})
    requests = example_requests(tmp_path, TWO, name)
    assert len(requests) == 1
    assert requests[0]["params"] == {"k": 1}
    assert rows(requests) == table["data"][:MOST]


def test_texts_booleans_and_gaps_are_not_varied(tmp_path: Path) -> None:
    name = write_example(tmp_path, {"dataframe_split": {"columns": list("abcd"), "data": [["red", True, None, 1]]}})
    varied = rows(example_requests(tmp_path, TWO, name))
    assert {tuple(row[:3]) for row in varied} == {("red", True, None)}
    assert len({row[3] for row in varied}) == len(varied)


def test_rows_are_drawn_beside_an_example_that_has_nothing_to_vary(tmp_path: Path) -> None:
    words = Signature(inputs=(Field("word", "string"),))
    name = write_example(tmp_path, {"dataframe_split": {"columns": ["word"], "data": [["red"]]}})
    assert rows(example_requests(tmp_path, words, name)) == [["red"], ["a"], ["b"], ["c"]]


@pytest.mark.parametrize("kind", [kind for kind in SCALARS if kind != "boolean"])
def test_rows_are_drawn_for_every_type(tmp_path: Path, kind: str) -> None:
    requests = example_requests(tmp_path, Signature(inputs=(Field("x", kind), Field("y", kind))))
    drawn = requests[0]["dataframe_split"]
    assert drawn["columns"] == ["x", "y"]
    assert len(drawn["data"]) == LEAST
    assert drawn["data"][0] != drawn["data"][1]
    assert requests == example_requests(tmp_path, Signature(inputs=(Field("x", kind), Field("y", kind))))


def test_unnamed_columns_are_drawn_without_names(tmp_path: Path) -> None:
    requests = example_requests(tmp_path, Signature(inputs=(Field(None, "double"),)))
    assert "columns" not in requests[0]["dataframe_split"]


def test_tensors_are_drawn_in_their_shape(tmp_path: Path) -> None:
    one = Signature(inputs=(Field(None, "tensor", dtype="float32", shape=(-1, 2)),))
    drawn = example_requests(tmp_path, one)[0]["inputs"]
    assert [len(row) for row in drawn] == [2] * LEAST
    named = Signature(inputs=(Field("t", "tensor", dtype="int64", shape=(1, 3)),))
    assert [len(row) for row in example_requests(tmp_path, named)[0]["inputs"]["t"]] == [3]


def test_without_a_column_signature_the_example_is_one_request(tmp_path: Path) -> None:
    body = {"inputs": ["what is this?"]}
    assert example_requests(tmp_path, Signature(), write_example(tmp_path, body)) == [body]


def test_nothing_known_gives_no_request(tmp_path: Path) -> None:
    assert example_requests(tmp_path, Signature()) == []


@pytest.mark.parametrize("text", ["not json", "[1]", '{"dataframe_split": 3}', '{"dataframe_split": {"data": []}}'])
def test_a_damaged_example_does_not_stop_the_drawing(tmp_path: Path, text: str) -> None:
    (tmp_path / "serving_input_example.json").write_text(text)
    assert (
        len(rows([r for r in example_requests(tmp_path, TWO) if isinstance(r.get("dataframe_split"), dict)])) >= LEAST
    )


@pytest.mark.parametrize("name", ["../secret.json", "/etc/hostname", "a\0b", "x" * 5000, ".."])
def test_an_example_outside_the_model_is_not_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.json").write_text('{"inputs": ["secret"]}')
    assert example_requests(folder, Signature(), name) == []
