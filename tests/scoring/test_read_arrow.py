import datetime
import decimal
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from legion import wire
from legion.errors import RefusedError, UsageError
from legion.scoring.chunk import Chunk, Limits
from legion.scoring.columns import columns_body, split_body
from legion.scoring.read_arrow import read_arrow, read_parquet


def columns(**arrays: Any) -> dict[str, tuple[str, Any]]:
    message = msgspec.msgpack.decode(columns_body(pa.record_batch(arrays)))
    return {name: (kind, data) for name, kind, data in message["columns"]}


def body_rows(chunk: Chunk) -> list[tuple[Any, ...]]:
    message = msgspec.msgpack.decode(chunk.call.body)
    values = [np.frombuffer(d, k).tolist() if k != "list" else d for _, k, d in message["columns"]]
    assert message["rows"] == chunk.rows
    return list(zip(*values, strict=True))


TABLE = pa.table({"x": np.arange(1000.0), "s": [f"r{i}" for i in range(1000)]})
ROWS = list(zip(*TABLE.to_pydict().values(), strict=True))


def as_bytes(form: str, table: pa.Table = TABLE) -> bytes:
    sink = io.BytesIO()
    if form == "parquet":
        parquet.write_table(table, sink, row_group_size=300)
    else:
        with (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(sink, table.schema) as out:
            out.write_table(table, max_chunksize=300)
    return sink.getvalue()


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
@pytest.mark.parametrize("limits", [{}, {"size": 500}, {"rows": 7}])
def test_rows_come_in_order_whatever_the_chunks(form: str, limits: dict[str, int]) -> None:
    read = read_parquet if form == "parquet" else read_arrow
    found = list(read(io.BufferedReader(io.BytesIO(as_bytes(form))), Limits(**limits), "in"))
    assert [row for chunk in found for row in body_rows(chunk)] == ROWS
    assert all(chunk.call.protocol == wire.COLUMNS for chunk in found)
    assert all(chunk.rows <= limits.get("rows", 1000) for chunk in found)
    assert len(found) > 1 or not limits


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow_comes_through_a_pipe(form: str) -> None:
    read_end, write_end = os.pipe()
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())",
            "/dev/stdin",
        ],
        stdin=subprocess.PIPE,
        stdout=write_end,
    )
    os.close(write_end)
    assert writer.stdin is not None
    writer.stdin.write(as_bytes(form))
    writer.stdin.close()
    with open(read_end, "rb") as stream:
        found = list(read_arrow(stream, Limits(), "in"))
    assert writer.wait() == 0
    assert [row for chunk in found for row in body_rows(chunk)] == ROWS


def test_parquet_refuses_a_pipe_with_a_remedy() -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    with open(read_end, "rb") as stream, pytest.raises(UsageError, match="give the file's path"):
        list(read_parquet(stream, Limits(), "in"))


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
@pytest.mark.parametrize("keep", [0, 3, 100, 2000])
def test_broken_files_are_refused(form: str, keep: int) -> None:
    read = read_parquet if form == "parquet" else read_arrow
    data = as_bytes(form)[:keep]
    with pytest.raises(RefusedError, match="in is not whole"):
        list(read(io.BufferedReader(io.BytesIO(data)), Limits(), "in"))


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([1.5, 2]), "<f8"),
        (np.array([1.5, 2], "f4"), "<f4"),
        (np.array([1, 2], "i8"), "<i8"),
        (np.array([1, 2], "i4"), "<i4"),
        (np.array([1, 2], "u1"), "|u1"),
        (np.array([True, False]), "|b1"),
    ],
)
def test_numbers_are_raw_bytes(array: Any, kind: str) -> None:
    assert columns(c=pa.array(array))["c"] == (kind, array.tobytes())


def test_a_slice_sends_its_own_values_only() -> None:
    batch = pa.record_batch({"c": pa.array([1.0, 2.0, 3.0]), "b": pa.array([True, False, True])}).slice(1, 1)
    message = msgspec.msgpack.decode(columns_body(batch))
    assert message["rows"] == 1
    assert [np.frombuffer(d, k).tolist() for _, k, d in message["columns"]] == [[2.0], [False]]


def test_gaps_in_floats_are_nan_and_in_the_rest_none() -> None:
    found = columns(f=pa.array([1.0, None]), i=pa.array([1, None]), b=pa.array([True, None]), s=["x", None])
    assert np.isnan(np.frombuffer(found["f"][1], found["f"][0])[1])
    assert [found[name] for name in "ibs"] == [
        ("list", [1, None]),
        ("list", [True, None]),
        ("list", ["x", None]),
    ]


def test_times_are_iso_texts() -> None:
    moment = datetime.datetime(2024, 2, 29, 12, 30, 15, 250000)
    found = columns(
        s=pa.array([moment.replace(microsecond=0), None], pa.timestamp("s")),
        n=pa.array([moment, None], pa.timestamp("ns")),
        z=pa.array([moment, None], pa.timestamp("us", "Europe/Paris")),
        d=pa.array([moment.date(), None]),
        fine=pa.array([1, None], pa.int64()).cast(pa.timestamp("ns")),
    )
    assert found["s"] == ("list", ["2024-02-29T12:30:15", None])
    assert found["n"] == ("list", ["2024-02-29T12:30:15.250000", None])
    assert found["z"] == ("list", ["2024-02-29T12:30:15.250000Z", None])
    assert found["d"] == ("list", ["2024-02-29", None])
    assert found["fine"] == ("list", ["1970-01-01T00:00:00.000000001", None])


def test_categories_decimals_bytes_and_lists_arrive_as_json_would_bring_them() -> None:
    found = columns(
        c=pa.array(["x", "y", "x"]).dictionary_encode(),
        d=pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2")]),
        b=pa.array([b"\xff", None, b""]),
        lists=pa.array([[1.0, 2.0], None, []]),
    )
    assert found["c"] == ("list", ["x", "y", "x"])
    assert found["d"][0] == "<f8"
    assert found["b"] == ("list", ["/w==", None, ""])
    assert found["lists"] == ("list", [[1.0, 2.0], None, []])


def test_models_that_read_requests_whole_get_json() -> None:
    moment = datetime.datetime(2024, 2, 29, 12, 30)
    batch = pa.record_batch({"f": [1.5, None], "b": [True, False], "t": pa.array([moment, None], pa.timestamp("ns"))})
    rows = [[1.5, True, "2024-02-29T12:30:00.000000"], [None, False, None]]
    assert msgspec.json.decode(split_body(batch)) == {"dataframe_split": {"columns": ["f", "b", "t"], "data": rows}}


def test_a_type_that_no_model_takes_is_named() -> None:
    with pytest.raises(RefusedError, match="column 'c' is of Arrow type duration"):
        columns(c=pa.array([datetime.timedelta(1)]))


def test_pandas_is_not_imported(tmp_path: Path) -> None:
    parquet.write_table(TABLE.append_column("b", pa.array([True] * 1000)), tmp_path / "in.parquet")
    code = """
import io, sys
from legion.scoring import formats
from legion.scoring.chunk import Chunk, Limits
from legion.scoring.predictions import read_predictions
list(formats.reader("parquet")(open(sys.argv[1], "rb"), Limits(), "in"))
writer = formats.writer("parquet", io.BytesIO(), pipe=False)
writer.write(read_predictions(b'{"predictions":[1.5,2.5]}'))
writer.finish()
assert "pyarrow" in sys.modules and "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "in.parquet")], check=True)
