"""The protocols' bodies: CSV and whole columns read as the same rows in JSON would be; refusals have their status."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import types
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

from legion import wire
from legion.errors import InputError
from legion.interface.gppi.module import Gppi
from legion.interface.table import Table
from legion.signature import Field, Signature
from legion.worker.batch import Answerer
from legion.worker.codecs.delimited import read_csv
from legion.worker.reading import simdjson_parser
from legion.worker.reading.rows import RowReader

FIELDS = (Field("a", "double"), Field("n", "long"), Field("s", "string"), Field("b", "boolean"))
NUMBERS = (Field("a", "double"), Field("b", "double"), Field("c", "double"))


def answerer(fields: tuple[Field, ...] = FIELDS) -> Answerer:
    """A model that answers with each row's values as text."""
    module = types.ModuleType("entrypoint")
    module.__dict__["init"] = lambda: "matrix"
    module.__dict__["predict_on_matrix"] = lambda input_matrix, provided_columns_names: [
        ["|".join(map(repr, row))] for row in input_matrix.tolist()
    ]
    return Answerer(Gppi(module, Signature(fields)), merges=False)


def ask(protocol: int, body: bytes, content_type: str | None = None) -> tuple[int, Any]:
    reply = answerer().answer([wire.Call(protocol, body, content_type)])[0]
    return reply.status, json.loads(reply.body)


def values(table: Table) -> list[list[Any]]:
    """A table's cells; a missing one is None."""
    rows = table.rows if table.rows is not None else np.asarray(table.block).tolist()
    return [[None if isinstance(v, float) and math.isnan(v) else v for v in row] for row in rows]


floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=6).filter(
    # What pandas.read_csv documents as missing.
    lambda text: text.strip() not in STR_NA_VALUES
)


@given(
    st.lists(st.tuples(floats, st.integers(-(2**63), 2**63 - 1), texts, st.booleans()), max_size=8),
    st.permutations(range(4)),
)
def test_csv_is_the_same_rows_as_json(data: list[tuple[Any, ...]], order: list[int]) -> None:
    rows = RowReader(Signature(FIELDS))
    names = [FIELDS[i].name for i in order]
    shuffled = [[row[i] for i in order] for row in data]
    text = io.StringIO()
    csv.writer(text).writerows([names, *shuffled])
    assert values(read_csv(rows, text.getvalue().encode())) == values(rows.split(names, shuffled))


cells = st.one_of(
    st.sampled_from(["", " ", "NA", " NA", "nan", "inf", "-Infinity", "1_000", "٣", "0x1", "+1", "1e999", "x", " 2 "]),
    floats.map(repr),
    st.integers(-(2**70), 2**70).map(str),
)


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5))
def test_the_quick_way_into_csv_reads_what_the_patient_way_reads(data: list[tuple[str, ...]]) -> None:
    def read(fields: tuple[Field, ...], body: str) -> Any:
        try:
            return values(read_csv(RowReader(Signature(fields)), body.encode()))
        except InputError as error:
            return error.row, error.column

    body = "b,a,c\n" + "".join(",".join(row) + "\n" for row in data)
    # A column of text more is all that it takes to go the patient way.
    patient = "b,a,c,s\n" + "".join(",".join((*row, "x")) + "\n" for row in data)
    expected = read((*NUMBERS, Field("s", "string")), patient)
    assert read(NUMBERS, body) == ([row[:3] for row in expected] if isinstance(expected, list) else expected)


@given(st.lists(st.tuples(floats, floats, floats), max_size=6))
def test_whole_columns_are_the_same_rows_as_json(data: list[tuple[float, ...]]) -> None:
    rows = [list(row) for row in data]
    arrays = np.array(rows, dtype="<f8").reshape(len(rows), 3)
    split = {"dataframe_split": {"columns": ["c", "a", "b"], "data": rows}}
    both = answerer(NUMBERS)
    expected = both.answer([wire.Call(wire.MLFLOW, json.dumps(split).encode())])[0]
    for kind in ("<f8", "list"):
        columns = [
            (name, kind, arrays[:, i].tobytes() if kind == "<f8" else arrays[:, i].tolist())
            for i, name in enumerate("cab")
        ]
        message = msgspec.msgpack.encode({"rows": len(rows), "columns": columns})
        reply = both.answer([wire.Call(wire.COLUMNS, message)])[0]
        assert (reply.status, reply.body) == (expected.status, expected.body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode({"rows": 1, "columns": 5}),
        msgspec.msgpack.encode({"rows": 1, "columns": [("a", "<f8", b"123")]}),
        msgspec.msgpack.encode({"rows": 1, "columns": [("a", "nonsense", b"12345678")]}),
        msgspec.msgpack.encode({"rows": 1, "columns": [("a", "list", 5)]}),
        msgspec.msgpack.encode({"rows": 1, "columns": [("a", "<f8", [1.0])]}),
        msgspec.msgpack.encode({"rows": 2, "columns": [(f.name, "list", [1.0]) for f in FIELDS]}),
        msgspec.msgpack.encode({"rows": 2, "columns": [(f.name, "list", [1] * i) for i, f in enumerate(FIELDS)]}),
        msgspec.msgpack.encode({"rows": 1, "columns": []}),
    ],
)
def test_columns_that_cannot_be_read_are_refused(body: bytes) -> None:
    status, refusal = ask(wire.COLUMNS, body)
    assert status == 400
    assert refusal["error_code"] == "BAD_REQUEST"


SPLIT = {"columns": ["a", "n", "s", "b"], "data": [[1, 2, "x", True]]}


def test_legion_s_rest() -> None:
    answer = (200, {"prediction": [["1.0|2|'x'|True"]], "columns": ["result"]})
    assert ask(wire.LEGION, json.dumps(SPLIT).encode()) == answer
    assert ask(wire.LEGION, json.dumps({"data": SPLIT["data"]}).encode(), "application/json; charset=utf-8") == answer


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", None, 400),
        (b"[]", None, 400),
        (b'{"columns": ["a"]}', None, 400),
        (b'{"data": [], "extra": 1}', None, 400),
        (b'{"data": [[1]]}', None, 422),
        (b'{"data": [[1, 2, "x", "true"]]}', None, 422),
        (b'{"columns": ["\\ud800"], "data": [[1]]}', None, 422),
        (b"a\n1\n", "text/csv", 415),
        (b"{}", "text/plain", 415),
    ],
)
def test_legion_s_refusals_have_their_status(body: bytes, content_type: str | None, status: int) -> None:
    found, refusal = ask(wire.LEGION, body, content_type)
    assert found == status
    assert refusal.keys() == {"message", "row", "column"}


def test_mlflow_s_refusals_have_its_keys() -> None:
    for body, content_type, status in (
        (b"{", None, 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json; charset=latin-1", 415),
        (b"a\n1\n", "text/csv", 400),
    ):
        found, refusal = ask(wire.MLFLOW, body, content_type)
        assert found == status
        assert refusal.keys() == {"error_code", "message", "stack_trace"}


KEYS = (
    *("dataframe_split", "dataframe_records", "instances", "inputs", "params"),
    *("columns", "data", "index", "a", "n"),
)
leaves = st.none() | st.booleans() | floats | st.text(max_size=3)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
CONTENT_TYPES = (None, "text/csv", "application/json; charset=utf-8", "; ;=;")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(st.binary(max_size=40), documents.map(lambda value: json.dumps(value).encode())),
    content_type=st.sampled_from(CONTENT_TYPES),
)
def test_no_body_ends_a_worker(caplog: pytest.LogCaptureFixture, body: bytes, content_type: str | None) -> None:
    takes_objects = types.ModuleType("entrypoint")
    takes_objects.__dict__["init"] = lambda: "objects"
    takes_objects.__dict__["predict_on_objects"] = lambda objects: [len(one) for one in objects]
    objects = Answerer(Gppi(takes_objects, Signature()), merges=False)
    with caplog.at_level(logging.ERROR, "legion.worker"):
        for model in (answerer(), answerer(()), objects):
            for protocol in (wire.MLFLOW, wire.LEGION, wire.COLUMNS):
                reply = model.answer([wire.Call(protocol, body, content_type)])[0]
                assert reply.status in (200, 400, 415, 422)
                json.loads(reply.body)
    assert not caplog.records, "an exception that nobody thought of"


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("cell", ["1.5", "x"])
def test_the_index_that_pandas_writes_is_told_for_what_it_is(cell: str, named: bool) -> None:
    fields = NUMBERS if named else tuple(Field(None, field.type) for field in NUMBERS)
    with pytest.raises(InputError, match=r"first column has no name, as pandas writes its index.*index=False"):
        read_csv(RowReader(Signature(fields)), f",a,b,c\n0,{cell},2,3\n1,4,5,6\n".encode())


def test_a_column_that_has_no_name_in_the_signature_is_read() -> None:
    rows = RowReader(Signature((Field("", "double"), Field("b", "double"))))
    assert values(read_csv(rows, b",b\n1,2\n")) == [[1.0, 2.0]]
    unnamed = RowReader(Signature((Field(None, "double"), Field(None, "double"))))
    assert values(read_csv(unnamed, b",b\n1,2\n")) == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("body", "row"),
    [
        # As many cells in all as two rows of three have.
        ("a,b,c\n1,2\n3,4,5,6\n", 0),
        ("a,b,c\n1,2,3,4\n5,6\n", 0),
        ("a,b,c\n1,2,3\n4,5,6\n7\n8,9,1,2,3\n", 2),
        ("a,b,c\n1,2,3\n4,5\n", 1),
        ("a,b,c\n1,2,3\n4,5,\r6\n", 2),
        ("a,b,c\n1,2,3\n4,\r5,6\n", 1),
    ],
)
def test_a_row_of_another_width_is_refused_wherever_it_is(body: str, row: int) -> None:
    with pytest.raises(InputError, match=rf"^row {row}[:,]"):
        read_csv(RowReader(Signature(NUMBERS)), body.encode())


@pytest.mark.parametrize("cells", ["1,2,3", "1,2,", '"1",2,3'])
def test_a_byte_order_mark_is_no_part_of_the_first_name(cells: str) -> None:
    table = read_csv(RowReader(Signature(NUMBERS)), f"\ufeffa,b,c\n{cells}\n".encode())
    assert table.names == ("a", "b", "c")
    assert values(table)[0][:2] == [1.0, 2.0]


def test_csv_that_is_no_utf_8_is_refused_wherever_it_is() -> None:
    for body in (b"a,b,c\n1,2,\xff\n", b"a,b,c\n" + b"1,2,\n" * 10_000 + b"1,2,\xff\n", b"\xff"):
        with pytest.raises(InputError, match="not valid UTF-8"):
            read_csv(RowReader(Signature(NUMBERS)), body)


@pytest.mark.parametrize("shape", [[2**63, 0], [10**4000, 10**4000], [0, -1], [1] * 17])
def test_a_shape_that_no_tensor_has_is_refused(shape: list[int]) -> None:
    tensor = {"name": "x", "shape": shape, "datatype": "FP64", "data": []}
    status, refusal = ask(wire.OPEN_INFERENCE, json.dumps({"inputs": [tensor]}).encode())
    assert (status, "has no shape that can be" in refusal["error"]) == (400, True)


@pytest.mark.parametrize("fields", [(), NUMBERS])
def test_a_tensor_of_rows_without_columns_is_refused(fields: tuple[Field, ...]) -> None:
    tensor = {"name": "x", "shape": [10**15, 0], "datatype": "FP64", "data": []}
    reply = answerer(fields).answer([wire.Call(wire.OPEN_INFERENCE, json.dumps({"inputs": [tensor]}).encode())])[0]
    assert (reply.status, "has no columns" in json.loads(reply.body)["error"]) == (400, True)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_blocks_of_any_width_and_line_end(width: int, end: str) -> None:
    names = ["a", "b", "c"][:width]
    rows = [[float(i + j / 8) for j in range(width)] for i in range(500)]
    lines = [",".join(names), *(",".join(map(repr, row)) for row in rows)]
    for text in (end.join(lines), end.join(lines) + end, end.join([*lines[:9], "", *lines[9:]])):
        assert values(read_csv(RowReader(Signature(NUMBERS[:width])), text.encode())) == rows


def test_a_document_that_is_still_held_does_not_stop_the_next() -> None:
    parser = simdjson_parser.Parser()
    if not simdjson_parser.available:
        pytest.skip("there is no simdjson here")
    first, second = parser.parse(b"[1, 2]"), parser.parse(b"[3]")
    assert [list(first), list(second), list(parser.parse(b"[4]"))] == [[1, 2], [3], [4]]
    with pytest.raises(ValueError, match="JSON"):
        parser.parse(b"[5")
    assert list(parser.parse(b"[6]")) == [6]
    long = b"[" + b"7," * 1_500_000 + b"8]"
    assert [len(parser.parse(long)), list(parser.parse(b"[9]"))] == [1_500_001, [9]]
