"""The quick way into a request reads what the patient way reads, or nothing."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from legion.errors import InputError
from legion.interface.table import Table
from legion.signature import Field, Signature
from legion.worker.reading.compiled_records import QuickRecords
from legion.worker.reading.compiled_rows import QuickReader
from legion.worker.reading.rows import RowReader, parse_json
from legion.worker.reading.scalars import ARRAY_READERS, READERS

KINDS = ("double", "float", "long", "integer", "boolean", "string")
# JSON texts of one cell, near every border.
_CELLS = """
    0 -0 1 -1 1.0 -0.0 0.1 1.5 1e3 1E-7 1e999 -1e999 1e-999 5e-324 1.7976931348623157e308 2147483647 2147483648
    -2147483649 9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775809 18446744073709551615
    18446744073709551616 1.8446744073709552e19 01 +1 .5 1. 1_0 NaN Infinity -Infinity nan null true false True
    "" "a" "1" "\\u00e9" "\\ud800" "\\ud83d\\ude00" "[" "a,b" [] [1] [1,2] {} {"a":1} {"a":[1]}
"""
CELLS = [*_CELLS.split(), "1" * 400, "1" * 5000, "0." + "3" * 400]

numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map(repr),
)
cells = st.one_of(st.sampled_from(CELLS), numbers, numbers, st.text(max_size=4).map(json.dumps))
PADDING = st.sampled_from(["", " ", "\n", " " * 9000])


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    """Up to four columns, of one type or of several, with names or without."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    if draw(st.booleans()):
        kinds = [kinds[0]] * len(kinds)
    named = draw(st.booleans())
    names = ["a", "b", "[", "é"] if named else [None] * 4
    return Signature(tuple(Field(n, k, draw(st.booleans()) or not named) for n, k in zip(names, kinds, strict=False)))


def _fits(kind: str) -> st.SearchStrategy[str]:
    plain = {"boolean": st.sampled_from(["true", "false"]), "string": st.text(max_size=3).map(json.dumps)}
    whole = st.integers(-(2**31), 2**31 - 1).map(str)
    return plain.get(kind, whole if kind in ("long", "integer") else st.one_of(whole, numbers))


@st.composite
def requests(draw: st.DrawFn) -> tuple[Signature, bytes]:
    """A signature and the text of a dataframe_split, mostly one that fits."""
    signature = draw(signatures())
    names = [field.name for field in signature.inputs]
    order = draw(st.permutations(range(len(names))))
    spoilt = draw(st.integers(0, 5)) == 0
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        row = [draw(cells if spoilt else _fits(signature.inputs[i].type)) for i in order]
        if draw(st.integers(0, 12)) == 0:
            row = draw(st.sampled_from([row[:-1], [*row, "1"], [f"[{','.join(row)}]"]]))
        rows.append("[" + ",".join(row) + "]")
    columns = [json.dumps(names[i]) for i in order]
    if draw(st.integers(0, 8)) == 0:
        columns = draw(st.sampled_from([columns[:-1], [*columns, '"a"'], ["1"], ['"\\u0061"', *columns[1:]]]))
    parts = ['"data":' + draw(PADDING) + "[" + ",".join(rows) + "]"]
    if draw(st.integers(0, 4)):
        parts.insert(draw(st.integers(0, 1)), '"columns":[' + ",".join(columns) + "]")
    if draw(st.integers(0, 15)) == 0:
        parts.append(draw(st.sampled_from(['"data":[]', '"columns":null', '"index":[0]', '"x":1', ""])))
    split = "{" + ",".join(parts) + "}"
    around = draw(
        st.sampled_from(
            ['{"dataframe_split":%s}'] * 8
            + ['{"dataframe_split":%s,"params":{"p":1}}', '{"dataframe_split":%s,"inputs":null}', "%s", "%s]"]
            + ['{"other":1,"dataframe_split":%s}', '{"dataframe_split":{},"dataframe_split":%s}']
        )
    )
    return signature, (draw(PADDING) + around.replace("%s", split)).encode()


def patient(rows: RowReader, body: bytes) -> Table | None:
    """The table that the patient way reads, or None where it refuses."""
    try:
        document = parse_json(body)
        split = document["dataframe_split"]
        assert not set(document) & {"inputs", "instances", "dataframe_records"}
        assert not set(split) - {"columns", "data", "index"}
        return rows.split(split.get("columns"), split["data"])
    except (InputError, KeyError, TypeError, AssertionError):
        return None


def shown(table: Table) -> tuple[Any, int, list[list[Any]]]:
    """A table's columns and values; a missing number is NaN, whichever way it was read."""
    rows = table.rows if table.rows is not None else np.asarray(table.block).tolist()
    return table.names, table.n, [[_value(value) for value in row] for row in rows]


def _value(value: object) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    return (isinstance(value, bool), math.copysign(1, value), value) if isinstance(value, float) else value


ONE = Signature((Field("a", "double"), Field("b", "double")))


@given(requests())
@example((ONE, b'{"dataframe_split":{"columns":["a","b"],"data":[[1,[2]],{"a":3,"b":4}]}}' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"columns":["b","a"],"data":[[1,2],[3,4]]}}' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"columns":["a","a"],"data":[[1,2]]}}' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"data":[[true,2]]}}' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"data":[["1",2]]}}' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"data":[[9007199254740993,18446744073709551615]]}}' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"data":[],"data":[[1,2]]}}' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"data":[[1,2]]}}{}' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"data":[[1,2]]}}\x00' + b" " * 9000))
@example((ONE, b'{"dataframe_split":{"data":[]}}' + b" " * 9000))
def test_quick_reads_what_patient_reads(request: tuple[Signature, bytes]) -> None:
    signature, body = request
    rows = RowReader(signature)
    try:
        read = QuickReader(rows, "dataframe_split", ("dataframe_records", "instances", "inputs")).read(body)
    except InputError:
        assert patient(rows, body) is None
        return
    if read is not None:
        expected = patient(rows, body)
        assert expected is not None, "the quick way took what the patient way refuses"
        assert shown(read[0]) == shown(expected)
        assert (read[1] is msgspec.UNSET) == ("params" not in json.loads(body))
        if signature.named:
            assert read[0].mergeable == expected.mergeable


@st.composite
def object_requests(draw: st.DrawFn) -> tuple[Signature, bytes]:
    """A signature of named columns and rows as objects, mostly of those columns."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    fields = [Field(name, kind) for name, kind in zip(["a", "é", "f1"], kinds, strict=False)]
    spoilt = draw(st.integers(0, 5)) == 0
    items = []
    for _ in range(draw(st.integers(0, 3))):
        pairs = [
            f"{json.dumps(f.name)}:{draw(cells if spoilt else _fits(f.type))}" for f in draw(st.permutations(fields))
        ]
        if draw(st.integers(0, 10)) == 0:
            pairs = draw(st.sampled_from([pairs[1:], [*pairs, '"z":1'], [*pairs, pairs[0]], ['"\\u0061":2', *pairs]]))
        items.append("{" + ",".join(pairs) + "}")
    form = f'"{draw(st.sampled_from(FORMS))}":[{",".join(items)}]'
    beside = draw(
        st.sampled_from([""] * 8 + [',"params":{}', ',"x":1', ',"dataframe_split":{}', ',"inputs":null', ","])
    )
    return Signature(tuple(fields)), ("{" + form + beside + "}").encode()


FORMS = ("dataframe_records", "instances", "inputs")


@given(object_requests())
def test_quick_records_read_what_patient_reads(request: tuple[Signature, bytes]) -> None:
    signature, body = request
    rows = RowReader(signature)
    read = QuickRecords(rows, signature, FORMS).read(body)
    if read is None:
        return
    document = parse_json(body)
    given = [form for form in (*FORMS, "dataframe_split") if form in document]
    assert len(given) == 1
    expected = rows.records(document[given[0]], READERS if given == ["dataframe_records"] else ARRAY_READERS)
    assert shown(read[0]) == shown(expected)
    assert read[0].mergeable == expected.mergeable
    assert (read[1] is msgspec.UNSET) == ("params" not in document)


def test_wide_records_are_read_as_narrow_ones() -> None:
    names = [f"c{i}" for i in range(100)]
    signature = Signature(tuple(Field(name, "double") for name in names))
    rows = RowReader(signature)
    reader = QuickRecords(rows, signature, FORMS)
    record = {name: float(i) for i, name in enumerate(names)}
    shuffled = dict(sorted(record.items()))
    body = json.dumps({"instances": [record, shuffled]}).encode()
    read = reader.read(body)
    assert read is not None
    assert shown(read[0]) == shown(rows.records([record, shuffled]))
    twice = body.replace(b'"c1": 1.0', b'"c0": 5, "c1": 1, "c1": 7', 1)
    read = reader.read(twice)
    assert read is not None
    assert shown(read[0]) == shown(rows.records(json.loads(twice)["instances"]))
    for odd in (
        {**record, "z": 1.0},
        {**shuffled, "c5": "1"},
        dict.fromkeys(names[1:], 1.0),
        {**dict.fromkeys(names[1:], 1), "z": 1},
    ):
        assert reader.read(json.dumps({"instances": [record, odd]}).encode()) is None
    mixed = Signature((*signature.inputs, Field("n", "long")))
    assert QuickRecords(RowReader(mixed), mixed, FORMS).read(body) is None


@pytest.mark.parametrize("size", [10, 10_000])
def test_quick_takes_what_fits(size: int) -> None:
    reader = QuickReader(RowReader(ONE), "dataframe_split")
    body = json.dumps({"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2.5]] * (size // 8)}}).encode()
    found = reader.read(body)
    assert found is not None
    table, params = found
    assert params is msgspec.UNSET
    assert shown(table)[2][0] == [(False, 1.0, 2.5), (False, 1.0, 1.0)]
    assert (table.block is not None) == (size > 8192)


def test_quick_leaves_the_rest_to_the_patient_way() -> None:
    reader = QuickReader(RowReader(ONE), "dataframe_split", ("inputs",))
    for body in (b"", b"[]", b"{}", b'{"dataframe_split":{"data":[[1]]}}', b'{"inputs":{}}', b"\xff", b"[" * 100_000):
        assert reader.read(body) is None
    assert QuickReader(RowReader(Signature((Field("a", "datetime"),))), "dataframe_split").read(b"{}") is None


def test_column_orders_are_remembered_within_bounds() -> None:
    names = [str(i) for i in range(5)]
    reader = QuickReader(RowReader(Signature(tuple(Field(name, "double") for name in names))), None)
    for turn in range(300):
        order = sorted(names, key=lambda name: hash((name, turn)))
        body = json.dumps({"columns": order, "data": [[float(name) for name in order]]}).encode()
        found = reader.read(body)
        assert found is not None
        assert found[0].rows is not None
        assert list(found[0].rows[0]) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(reader._orders) <= 64


def test_names_among_blanks_are_read_and_not_remembered() -> None:
    reader = QuickReader(RowReader(Signature((Field("a", "long"), Field("b", "long")))), None)
    tracemalloc.start()
    for turn in range(40):
        body = b'{"columns":["b",' + b" " * (100_000 + turn) + b'"a"],"data":[[1,2]]}'
        read = reader.read(body)
        assert read is not None
        assert read[0].rows == [(2, 1)]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000_000
