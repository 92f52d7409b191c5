import csv
import io
import json
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from legion.errors import RefusedError
from legion.scoring import formats
from legion.scoring.predictions import Predictions, read_predictions


def written(form: str, *batches: list[Any], pipe: bool = False) -> bytes:
    stream = io.BytesIO()
    writer = formats.writer(form, stream, pipe=pipe)
    for rows in batches:
        writer.write(Predictions(None, rows))
    writer.finish()
    return stream.getvalue()


def as_table(form: str, *batches: list[Any], pipe: bool = False) -> dict[str, list[Any]]:
    data = io.BytesIO(written(form, *batches, pipe=pipe))
    if form == "parquet":
        found = parquet.read_table(data)
    else:
        found = (pa.ipc.open_stream if pipe else pa.ipc.open_file)(data).read_all()
    return dict(found.to_pydict())


@pytest.mark.parametrize(
    ("batches", "text"),
    [
        (([1.5, 2.0], [3.0]), "prediction\n1.5\n2.0\n3.0\n"),
        (([1, 2], [3.5]), "prediction\n1\n2\n3.5\n"),
        ((["a", 'b,"c"'],), 'prediction\na\n"b,""c"""\n'),
        (([1.5, None],), 'prediction\n1.5\n""\n'),
        (([True, False],), "prediction\nTrue\nFalse\n"),
        (([[1.0, 2.0]], [[3.0, 4.0]]), "prediction_0,prediction_1\n1.0,2.0\n3.0,4.0\n"),
        (([{"y": 1, "p": 0.5}], [{"p": 0.25, "y": 2}]), "y,p\n1,0.5\n2,0.25\n"),
        (([{"y": [1, 2]}],), 'y\n"[1,2]"\n'),
        ((), "prediction\n"),
    ],
)
def test_csv(batches: Any, text: str) -> None:
    assert written("csv", *batches).decode() == text


def test_csv_text_survives_a_reader() -> None:
    rows = ["line\nbreak", 'quote"', "comma,", "", "é", " x "]
    found = list(csv.reader(io.StringIO(written("csv", rows).decode(), newline="")))
    assert found == [["prediction"]] + [[row] for row in rows]


@pytest.mark.parametrize("rows", [[1.5, None, "x"], [[1, 2], [3]], [{"a": {"b": [1]}}], []])
def test_jsonl_holds_anything(rows: Any) -> None:
    lines = written("jsonl", rows).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"prediction": row} for row in rows]


@pytest.mark.parametrize(("form", "pipe"), [("parquet", False), ("arrow", False), ("arrow", True)])
@pytest.mark.parametrize(
    ("batches", "table"),
    [
        (([1.5, 2.0], [3.0, None]), {"prediction": [1.5, 2.0, 3.0, None]}),
        ((["a"], ["b"]), {"prediction": ["a", "b"]}),
        (([None], [2.5]), {"prediction": [None, 2.5]}),
        (([[1, 2.5]], [[3, 4.5]]), {"prediction_0": [1, 3], "prediction_1": [2.5, 4.5]}),
        (([{"y": True}], [{"y": False}]), {"y": [True, False]}),
        ((), {"prediction": []}),
    ],
)
def test_tables(form: str, pipe: bool, batches: Any, table: Any) -> None:
    assert as_table(form, *batches, pipe=pipe) == table


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("later", [[[1.0]], [{"a": 1}]])
def test_a_table_refuses_another_shape_naming_the_row(form: str, later: Any) -> None:
    with pytest.raises(RefusedError, match="prediction of row 2 has another shape"):
        written(form, [1.0, 2.0], later)
    with pytest.raises(RefusedError, match="row 1 has another shape"):
        written(form, [[1.0, 2.0]], later)


def test_parquet_refuses_a_change_of_type() -> None:
    with pytest.raises(RefusedError, match="from row 1 are of another type"):
        written("parquet", [1.0], ["text"])


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_numbers_kept_as_text_are_written_like_any_others(form: str) -> None:
    stream = io.BytesIO()
    writer = formats.writer(form, stream, pipe=False)
    writer.write(read_predictions(b'{"predictions":[1.5,-2e-07,3.0]}'))
    writer.write(read_predictions(b'{"predictions":[null,4.25]}'))
    writer.finish()
    expected = [1.5, -2e-07, 3.0, None, 4.25]
    if form == "parquet":
        assert parquet.read_table(stream).to_pydict() == {"prediction": expected}
    elif form == "jsonl":
        assert [json.loads(line)["prediction"] for line in stream.getvalue().splitlines()] == expected
    else:
        assert [json.loads(cell.strip('"') or "null") for cell in stream.getvalue().decode().split()[1:]] == expected


def test_numbers_after_records_are_another_shape() -> None:
    writer = formats.writer("csv", io.BytesIO(), pipe=False)
    writer.write(read_predictions(b'{"predictions":[{"y":1}]}'))
    with pytest.raises(RefusedError, match="row 1 has another shape"):
        writer.write(read_predictions(b'{"predictions":[1.5]}'))
