import json
from typing import Any

import msgspec
import pytest

from legion.errors import RefusedError, WorkerError
from legion.scoring.answers import predictions_of
from legion.scoring.chunk import Chunk
from legion.wire import MLFLOW, Call, Reply


def chunk(rows: int, lines: list[int] | None = None) -> Chunk:
    return Chunk(Call(MLFLOW, b""), rows, 0, None if lines is None else lambda: lines)


def answer(predictions: Any, rows: int, lines: list[int] | None = None) -> list[Any]:
    body = msgspec.json.encode({"predictions": predictions})
    return predictions_of(Reply(200, body), chunk(rows, lines), 100, "in.csv").values


def refusal(message: str, status: int = 400, lines: list[int] | None = None) -> Exception:
    body = json.dumps({"error_code": "BAD_REQUEST", "message": message}).encode()
    with pytest.raises((RefusedError, WorkerError)) as caught:
        predictions_of(Reply(status, body), chunk(10, lines), 100, "in.csv")
    return caught.value


def test_one_prediction_a_row() -> None:
    assert answer([1.5, [2], {"a": None}], 3) == [1.5, [2], {"a": None}]


def test_named_outputs_become_records() -> None:
    assert answer({"a": [1, 2], "b": ["x", "y"]}, 2) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_lines_settle_the_number_of_rows() -> None:
    assert answer([1, 2], 5, [2, 4]) == [1, 2]


@pytest.mark.parametrize("predictions", [[1], [1, 2, 3], 7, {"a": [1], "b": [1, 2]}])
def test_another_number_of_rows_is_refused(predictions: Any) -> None:
    with pytest.raises(RefusedError, match="predictions for the 2 rows from row 100 of"):
        answer(predictions, 2, [2, 3])


def test_a_refused_row_is_named_by_its_place_in_the_file() -> None:
    error = refusal("row 3, column 'x': expected a number, got the text 'row 9'", lines=list(range(50, 60)))
    assert isinstance(error, RefusedError)
    assert str(error) == "in.csv, row 103 (line 53): column 'x': expected a number, got the text 'row 9'"


def test_a_refusal_without_a_row_names_the_range() -> None:
    assert str(refusal("column 'x' is missing")) == "in.csv, rows 100 to 109: column 'x' is missing"


def test_a_failing_model_is_not_the_inputs_fault() -> None:
    assert isinstance(refusal("it broke", 500), WorkerError)
