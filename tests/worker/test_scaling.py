"""What a worker does for a body grows with the body, not with its square, whatever the body is made of."""

from __future__ import annotations

import gc
import json
import struct
import time
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from legion import wire
from legion.interface.gppi.module import Gppi
from legion.signature import Field, Signature
from legion.worker.batch import Answerer

# Four times the body takes four times as long, sixteen times where work grows with the square.
SMALL, LARGE, BOUND = 5_000, 20_000, 9

NUMBERS = (Field("a", "double"), Field("b", "double"), Field("c", "double"))
MIXED = (Field("a", "double"), Field("n", "long"), Field("s", "string"), Field("b", "boolean"))
SPLIT = {"columns": ["a", "b", "c"], "data": [[1, 2, 3]]}
INPUTS = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in "abc"]


def answerer(fields: Sequence[Field], mode: str) -> Answerer:
    """A model that answers every row with a number, every object with itself."""
    module: Any = types.ModuleType("entrypoint")
    module.init = lambda: mode
    module.predict_on_matrix = lambda input_matrix, provided_columns_names: [[1.0]] * len(input_matrix)
    module.predict_on_objects = list
    return Answerer(Gppi(module, Signature(tuple(fields))), merges=False)


def wide(kind: str, *, required: bool = True) -> Callable[[int], list[Field]]:
    return lambda n: [Field(name, kind, required) for name in names(n)]


def names(n: int) -> list[str]:
    return [f"c{i}" for i in range(n)]


class Case(NamedTuple):
    """A body of size n, and with which status it is answered."""

    name: str
    status: int
    body: Callable[[int], Any]
    protocol: int = wire.MLFLOW
    content_type: str | None = None
    fields: Any = NUMBERS
    mode: str = "matrix"


def csv_case(name: str, status: int, body: Callable[[int], str], fields: Any = NUMBERS) -> Case:
    return Case(f"csv: {name}", status, lambda n: body(n).encode(), content_type="text/csv", fields=fields)


def v2_case(name: str, status: int, body: Callable[[int], Any], fields: Any = NUMBERS, mode: str = "matrix") -> Case:
    return Case(f"v2: {name}", status, body, wire.OPEN_INFERENCE, fields=fields, mode=mode)


def legion_case(
    name: str, status: int, body: Callable[[int], Any], fields: Any = NUMBERS, mode: str = "matrix"
) -> Case:
    return Case(f"legion: {name}", status, body, wire.LEGION, fields=fields, mode=mode)


def columns_case(name: str, status: int, chosen: Callable[[int], list[str]], fields: Any = NUMBERS) -> Case:
    value = struct.pack("<d", 1)

    def body(n: int) -> bytes:
        return msgspec.msgpack.encode({"rows": 1, "columns": [(name, "<f8", value) for name in chosen(n)]})

    return Case(f"columns: {name}", status, body, wire.COLUMNS, fields=fields)


def in_data(text: bytes, n: int) -> bytes:
    return b'{"dataframe_split":{"columns":["a","b","c"],"data":[[1,2,' + text * n + b"3]]}}"


def split(columns: list[str]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": [[1] * len(columns)]}}


def records(n: int) -> dict[str, Any]:
    return {"dataframe_records": [{name: 1} for name in names(n)]}


def tensors(chosen: list[str]) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in chosen]}


def texts(n: int) -> dict[str, Any]:
    return {"inputs": [{"name": "s", "shape": [n], "datatype": "BYTES", "data": ["x"] * n}]}


def tall(n: int, data: list[Any]) -> dict[str, Any]:
    return {"inputs": [{"name": "all", "shape": [n, 3], "datatype": "FP64", "data": data}]}


_FORM = b'"dataframe_split":' + json.dumps(SPLIT).encode()
_THE_REST = b'"b","c"],"data":[[1,2,3]]}}'
DOUBLES, GAPPY, TEXTS, LONGS = wide("double"), wide("double", required=False), wide("string"), wide("long")

CASES = [
    Case("unknown columns", 400, lambda n: split(names(n))),
    Case("a duplicate column", 400, lambda n: split(["a", "b", "c"] * n)),
    Case("a duplicate column at the end, no signature", 400, lambda n: split([*names(n), f"c{n - 1}"]), fields=()),
    Case("a duplicate field at the end", 400, lambda n: split([*names(n), f"c{n - 1}"]), fields=(), mode="objects"),
    Case("columns, no signature", 200, lambda n: split(names(n)), fields=()),
    Case("columns", 200, lambda n: split(names(n)), fields=DOUBLES),
    Case("columns in another order", 200, lambda n: split(names(n)[::-1]), fields=DOUBLES),
    Case("columns of whole numbers", 200, lambda n: split(names(n)[::-1]), fields=LONGS),
    Case("columns of any type", 200, lambda n: split(names(n)[::-1]), fields=wide("any")),
    Case("columns that may be missing", 200, lambda n: split(names(n)[: n // 2]), fields=GAPPY),
    Case("a wrong value in the last column", 400, lambda n: split(names(n)), fields=TEXTS),
    Case(
        "a record of many columns", 200, lambda n: {"dataframe_records": [dict.fromkeys(names(n), 1)]}, fields=DOUBLES
    ),
    Case("a record in another order", 200, lambda n: {"instances": [dict.fromkeys(names(n)[::-1], 1)]}, fields=DOUBLES),
    Case("records of different keys", 400, records),
    Case("records of different keys, no signature", 400, records, fields=()),
    Case("objects of different keys", 200, records, fields=(), mode="objects"),
    Case("a key again and again", 200, lambda n: b'{"instances":[{' + b'"a":1,' * n + b'"b":1,"c":1}]}'),
    Case("a form again and again", 200, lambda n: b"{" + b",".join([_FORM] * n) + b"}"),
    Case("columns as lists", 200, lambda n: {"inputs": {name: [1] for name in names(n)}}, fields=DOUBLES),
    Case("params", 200, lambda n: {"dataframe_split": SPLIT, "params": dict.fromkeys(names(n), 1)}),
    Case("unknown keys", 200, lambda n: {"dataframe_split": SPLIT, **dict.fromkeys(names(n), 1)}),
    Case("rows without values", 400, lambda n: {"dataframe_split": {"columns": ["a"], "data": [[]] * n}}),
    Case("lists in lists", 400, lambda n: b"[" * n),
    Case("objects in objects", 400, lambda n: b'{"a":' * n),
    Case("a value in lists", 400, lambda n: b'{"instances":' + b"[" * n + b"]" * n + b"}"),
    Case("blanks", 200, lambda n: in_data(b" \n\t\r", n)),
    Case("blanks between names", 200, lambda n: b'{"dataframe_split":{"columns":["a",' + b" \n" * n + _THE_REST),
    Case("a whole number of many digits", 400, lambda n: in_data(b"1", n)),
    Case("a fraction of many digits", 200, lambda n: in_data(b"0." + b"1" * n, 1)),
    Case("escapes", 400, lambda n: split(["a" + '\\"' * n])),
    csv_case("columns", 200, lambda n: ",".join(names(n)) + "\n" + "1," * (n - 1) + "1", DOUBLES),
    csv_case("columns in another order", 200, lambda n: ",".join(names(n)[::-1]) + "\n" + "1," * (n - 1) + "1", LONGS),
    csv_case("columns, no signature", 200, lambda n: ",".join(names(n)) + "\n" + "1," * (n - 1) + "1", ()),
    csv_case("duplicate columns", 400, lambda n: "a,b,c," * n + "a\n" + "1,1,1," * n + "1"),
    csv_case("duplicate columns, no signature", 400, lambda n: ",".join([*names(n), f"c{n - 1}"]) + "\n" + "," * n, ()),
    csv_case("quotes", 200, lambda n: "a,b,c\n" + '"1","2","3"\n' * n),
    csv_case("a run of quotes", 400, lambda n: "a,b,c\n" + '"' * n),
    csv_case("quoted line ends", 400, lambda n: "a,b,c\n" + '"\n' * (2 * n + 1)),
    csv_case("empty lines", 200, lambda n: "a,b,c\n" + "\n" * n + "1,2,3\n"),
    csv_case("lines of blanks", 200, lambda n: "a,b,c\n" + " \r\n" * n + "1,2,3\n"),
    csv_case("no line with anything", 400, lambda n: "\n" * n),
    csv_case("a cell of many digits", 400, lambda n: "a,b,c\n1,2," + "1" * n + "x\n"),
    csv_case("a whole number of many digits", 400, lambda n: "a,n,s,b\n1," + "1" * n + "x,x,true\n", MIXED),
    csv_case("a cell of many digits, no signature", 200, lambda n: "a,b,c\n1,2," + "1" * n + "x\n", ()),
    legion_case("columns", 200, lambda n: split(names(n))["dataframe_split"], DOUBLES),
    legion_case("a duplicate column", 422, lambda n: split(["a", "b", "c"] * n)["dataframe_split"]),
    legion_case("unknown keys", 400, lambda n: {**SPLIT, **dict.fromkeys(names(n), 1)}),
    legion_case("objects of different keys", 200, lambda n: records(n)["dataframe_records"], (), "objects"),
    v2_case("inputs", 200, lambda n: tensors(names(n)), DOUBLES),
    v2_case("inputs in another order", 200, lambda n: tensors(names(n)[::-1]), DOUBLES),
    v2_case("inputs, no signature", 200, lambda n: tensors(names(n)), ()),
    v2_case("inputs as fields", 200, lambda n: tensors(names(n)), (), "objects"),
    v2_case("unknown inputs", 400, lambda n: tensors(names(n))),
    v2_case("duplicate inputs", 400, lambda n: tensors(["a", "b", "c"] * n)),
    v2_case("outputs", 400, lambda n: {"inputs": INPUTS, "outputs": [{"name": name} for name in names(n)]}),
    v2_case(
        "duplicate outputs", 400, lambda n: {"inputs": INPUTS, "outputs": [{"name": x} for x in [*names(n), "c0"]]}
    ),
    v2_case("params", 200, lambda n: {"inputs": INPUTS, "parameters": dict.fromkeys(names(n), 1)}),
    v2_case("dimensions", 400, lambda n: {"inputs": [{**INPUTS[0], "shape": [1] * n}]}),
    v2_case(
        "lists in lists", 400, lambda n: b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":' + b"[" * n
    ),
    v2_case("rows", 200, lambda n: tall(n, [1] * 3 * n)),
    v2_case("rows as lists", 200, lambda n: tall(n, [[1, 2, 3]] * n)),
    v2_case("texts", 200, texts, (Field("s", "string"),)),
    v2_case("blanks", 200, lambda n: b"{" + b" \n\t\r" * n + json.dumps({"inputs": INPUTS}).encode()[1:]),
    columns_case("columns", 200, names, DOUBLES),
    columns_case("columns in another order", 200, lambda n: names(n)[::-1], DOUBLES),
    columns_case("duplicate columns", 400, lambda n: ["a", "b", "c"] * n),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_work_grows_with_the_body_and_not_with_its_square(case: Case) -> None:
    small, large = _asking(case, SMALL), _asking(case, LARGE)
    fast, slow = _seconds(small), _seconds(large)
    for _ in range(8):
        if slow < BOUND * fast:
            break
        # Other processes may have slowed down either.
        fast, slow = min(fast, _seconds(small)), min(slow, _seconds(large))
    assert slow < BOUND * fast, f"{fast:.4f} s, and {slow:.4f} s for four times the body"


def _asking(case: Case, n: int) -> Callable[[], None]:
    body = case.body(n)
    call = wire.Call(case.protocol, body if isinstance(body, bytes) else json.dumps(body).encode(), case.content_type)
    model = answerer(case.fields(n) if callable(case.fields) else case.fields, case.mode)

    def ask() -> None:
        (reply,) = model.answer([call])
        assert reply.status == case.status, reply.body[:300]

    return ask


def _seconds(work: Callable[[], None]) -> float:
    """Of this thread, the fewer of two runs, without the collector's."""
    gc.collect()
    gc.disable()
    try:
        return min(_once(work), _once(work))
    finally:
        gc.enable()


def _once(work: Callable[[], None]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start
