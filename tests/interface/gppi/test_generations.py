"""The same model as a module of either generation: the same numbers, the same refusals, one OpenAPI for each."""

from __future__ import annotations

import json
import textwrap
import types
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from legion import wire
from legion.errors import WorkerError
from legion.interface.gppi.generation1 import Gppi1
from legion.interface.gppi.module import Gppi, of_module
from legion.signature import Field, Signature
from legion.worker.batch import Answerer

WINE = """
    from pydantic import BaseModel, Field

    class Wine(BaseModel):
        alcohol: float = Field(ge=0, examples=[9.5])
        sulphates: float
        year: int = 2000
"""
SCORE = "return [[2 * a + s + (y - 2000)] for a, s, y in rows]"

MATRIX = {
    "generation 1": f"""{WINE}
    def init(): pass
    def info(): return Wine
    def columns_order(): return ["alcohol", "sulphates", "year"]
    def predict(one): raise AssertionError("there is predict_matrix")
    def predict_matrix(rows): {SCORE}
    """,
    "generation 2": f"""{WINE}
    def init(): return "matrix"
    def get_info(): return Wine
    def predict_on_matrix(rows, provided_columns_names=None): {SCORE}
    """,
}
OBJECTS = {
    "generation 1": f"""{WINE}
    def init(): pass
    def info(): return Wine
    def predict(one):
        assert type(one) is Wine
        return {{"score": 2 * one.alcohol + one.sulphates + one.year - 2000}}
    """,
    "generation 2": f"""{WINE}
    def init(): return "objects"
    def get_object_input_type(): return Wine
    def predict_on_objects(objects):
        assert all(type(one) is Wine for one in objects)
        return [{{"score": 2 * one.alcohol + one.sulphates + one.year - 2000}} for one in objects]
    """,
}


def module(source: str) -> types.ModuleType:
    """The module that this source makes."""
    made = types.ModuleType("entrypoint")
    exec(compile(textwrap.dedent(source), "entrypoint.py", "exec", dont_inherit=True), made.__dict__)
    return made


def model(source: str, signature: Signature = Signature()) -> Gppi | Gppi1:
    """The module that this source makes, as a model of its generation."""
    return of_module(module(source), signature)


def ask(model: Any, protocol: int, body: Any, content_type: str | None = None) -> tuple[int, Any]:
    """Status and document of one request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = Answerer(model, merges=False).answer([wire.Call(protocol, data, content_type)])[0]
    return reply.status, json.loads(reply.body)


matrix_of_either = pytest.mark.parametrize("source", MATRIX.values(), ids=MATRIX)
objects_of_either = pytest.mark.parametrize("source", OBJECTS.values(), ids=OBJECTS)


@matrix_of_either
def test_a_matrix_by_every_form(source: str) -> None:
    made = model(source)
    rows: dict[str, list[Any]] = {
        "columns": ["sulphates", "year", "alcohol"],
        "data": [[1, 2001, 10.5], [2, 2002, 0]],
    }
    expected = [[23.0], [4.0]]
    assert ask(made, wire.LEGION, rows) == (200, {"prediction": expected, "columns": ["result"]})
    assert ask(made, wire.LEGION, {"data": [[10.5, 1, 2001]]})[1]["prediction"] == [[23.0]]
    records = [dict(zip(rows["columns"], row, strict=True)) for row in rows["data"]]
    by_column = {name: [record[name] for record in records] for name in rows["columns"]}
    for body in ({"dataframe_split": rows}, {"dataframe_records": records}, {"instances": records}):
        assert ask(made, wire.MLFLOW, body) == (200, {"predictions": expected})
    assert ask(made, wire.MLFLOW, {"inputs": by_column}) == (200, {"predictions": expected})
    csv = b"sulphates,year,alcohol\n1,2001,10.5\n2,2002,0\n"
    assert ask(made, wire.MLFLOW, csv, "text/csv") == (200, {"predictions": expected})
    tensors = [{"name": n, "shape": [2], "datatype": "FP64", "data": v} for n, v in by_column.items()]
    status, answer = ask(made, wire.OPEN_INFERENCE, {"inputs": tensors})
    assert (status, answer["outputs"][0]["data"]) == (200, [23.0, 4.0])
    whole = {"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [10.5, 1, 2001]}
    assert ask(made, wire.OPEN_INFERENCE, {"inputs": [whole]})[1]["outputs"][0]["data"] == [23.0]


@matrix_of_either
def test_a_column_with_a_default_may_be_left_out(source: str) -> None:
    rows = {"columns": ["sulphates", "alcohol"], "data": [[1, 10.5]]}
    assert ask(model(source), wire.LEGION, rows) == (200, {"prediction": [[22.0]], "columns": ["result"]})


MATRIX_REFUSALS = {
    "unknown": ({"columns": ["alcohol", "sulphates", "colour"], "data": [[1, 2, 3]]}, None, "colour"),
    "missing": ({"columns": ["alcohol", "year"], "data": [[1, 2]]}, None, "sulphates"),
    "twice": ({"columns": ["alcohol", "sulphates", "alcohol"], "data": [[1, 2, 3]]}, None, "alcohol"),
    "text": ({"columns": ["alcohol", "sulphates"], "data": [[1, 2], [1, "much"]]}, 1, "sulphates"),
    "null": ({"columns": ["alcohol", "sulphates"], "data": [[1, 2], [None, 2]]}, 1, "alcohol"),
    "out of range": ({"columns": ["alcohol", "sulphates"], "data": [[1, 2], [2, 1], [-1, 2]]}, 2, "alcohol"),
    "no whole number": ({"data": [[1, 2, 2000.5]]}, 0, "year"),
    "width": ({"data": [[1, 2, 3], [1, 2]]}, 1, None),
}


@matrix_of_either
@pytest.mark.parametrize(("body", "row", "column"), MATRIX_REFUSALS.values(), ids=MATRIX_REFUSALS)
def test_what_does_not_fit_is_refused_by_row_and_column(source: str, body: Any, row: Any, column: Any) -> None:
    made = model(source)
    status, refusal = ask(made, wire.LEGION, body)
    assert (status, refusal["row"], refusal["column"]) == (422, row, column)
    if "columns" in body:
        status, mlflow = ask(made, wire.MLFLOW, {"dataframe_split": body})
        assert (status, mlflow["error_code"], mlflow["message"]) == (400, "BAD_REQUEST", refusal["message"])


@objects_of_either
def test_objects_are_instances_of_the_declared_type(source: str) -> None:
    made = model(source)
    objects = [{"alcohol": "10.5", "sulphates": 1, "year": 2001}, {"alcohol": 1, "sulphates": 2}]
    expected = [{"score": 23.0}, {"score": 4.0}]
    assert ask(made, wire.LEGION, objects) == (200, expected)
    for form in ("dataframe_records", "instances", "inputs"):
        assert ask(made, wire.MLFLOW, {form: objects}) == (200, {"predictions": expected})
    split = {"columns": ["alcohol", "sulphates"], "data": [[1, 2]]}
    assert ask(made, wire.MLFLOW, {"dataframe_split": split}) == (200, {"predictions": [{"score": 4.0}]})
    assert ask(made, wire.LEGION, []) == (200, [])


@objects_of_either
@pytest.mark.parametrize(
    ("objects", "row", "column"),
    [
        ([{"alcohol": 1, "sulphates": 2}, {"alcohol": 1}], 1, "sulphates"),
        ([{"alcohol": -1, "sulphates": 2}], 0, "alcohol"),
        ([{"alcohol": 1, "sulphates": [2]}], 0, "sulphates"),
        ([{"alcohol": 1, "sulphates": 2}, 5], 1, None),
        ([{}], 0, "alcohol"),
        ({"alcohol": 1, "sulphates": 2}, None, None),
    ],
)
def test_objects_that_do_not_fit_are_refused_by_row_and_field(source: str, objects: Any, row: Any, column: Any) -> None:
    made = model(source)
    status, refusal = ask(made, wire.LEGION, objects)
    assert (status, refusal["row"], refusal["column"]) == (422, row, column)
    if column is not None:
        status, mlflow = ask(made, wire.MLFLOW, {"dataframe_records": objects})
        assert (status, mlflow["error_code"], mlflow["message"]) == (400, "BAD_REQUEST", refusal["message"])
        assert f"row {row}, field {column!r}" in mlflow["message"]


@pytest.mark.parametrize("source", [*MATRIX.values(), *OBJECTS.values()])
def test_the_schema_of_one_object_is_told(source: str) -> None:
    schema = (model(source).describe() or {})["x-legion-input"]
    assert schema["required"] == ["alcohol", "sulphates"]
    assert schema["properties"]["alcohol"]["minimum"] == 0


def test_one_request_that_does_not_fit_is_refused_alone() -> None:
    answerer = Answerer(model(OBJECTS["generation 1"]), merges=True)
    good, bad = b'[{"alcohol": 1, "sulphates": 2}]', b'[{"alcohol": 1, "sulphates": "x"}]'
    replies = answerer.answer([wire.Call(wire.LEGION, body) for body in (good, bad, good)])
    assert [reply.status for reply in replies] == [200, 422, 200]
    assert json.loads(replies[1].body)["row"] == 0


# Which generation a module is of.

KINDS = [
    ("def init(): pass\ndef predict(one): return 1", Gppi1, "objects"),
    ("def init(): pass\ndef predict_matrix(rows): return rows", Gppi1, "matrix"),
    ("def init(): pass\ndef predict(one): return 1\ndef predict_matrix(rows): return rows", Gppi1, "matrix"),
    ("def init(): return 'objects'\ndef predict_on_objects(objects): return objects", Gppi, "objects"),
    # Both at once: what init() returns decides.
    (
        "def init(): return 'matrix'\ndef predict_matrix(m): return m\ndef predict_on_matrix(m, **more): return m",
        Gppi,
        "matrix",
    ),
    (
        "def init(): return None\ndef predict_matrix(m): return m\ndef predict_on_matrix(m, **more): return m",
        Gppi1,
        "matrix",
    ),
]


@pytest.mark.parametrize(("source", "kind", "mode"), KINDS)
def test_the_generation_is_seen(source: str, kind: type, mode: str) -> None:
    made = model(source)
    assert (type(made), made.mode) == (kind, mode)


def test_init_is_called_once() -> None:
    for source in (MATRIX["generation 1"], MATRIX["generation 2"]):
        counted = module(source)
        init = Mock(side_effect=counted.init)
        counted.__dict__["init"] = init
        of_module(counted, Signature())
        init.assert_called_once_with()


@pytest.mark.parametrize(
    "source",
    [
        "def init(): pass",
        "def init(): pass\ndef predict_on_matrix(m): return m",
        "def init(): return 1\ndef predict(one): return 1",
        "def init(): pass\npredict = 5",
    ],
)
def test_a_module_of_no_generation_is_told_what_to_define(source: str) -> None:
    with pytest.raises(WorkerError, match=r"let it return 'matrix' or 'objects', or define predict\(\)"):
        model(source)


# Generation 1 alone.


def given(order: Any, info: str = "", signature: Signature = Signature()) -> tuple[Gppi1, list[Any]]:
    """A module with this columns_order and info, and the list of matrices that it gets."""
    made = module(f"""
    seen = []
    def init(): pass
    def predict_matrix(rows):
        seen.append(rows)
        return [0] * len(rows)
    def columns_order(): return {order!r}
    {info}
    """)
    model = of_module(made, signature)
    assert isinstance(model, Gppi1)
    return model, made.seen


def test_columns_order_makes_a_vector_of_a_dict() -> None:
    made, seen = given(["b", "a", "c"])
    assert ask(made, wire.MLFLOW, {"dataframe_records": [{"a": 1, "b": 2.5, "c": 3}]})[0] == 200
    np.testing.assert_array_equal(seen.pop(), [[2.5, 1, 3]])
    assert ask(made, wire.LEGION, {"columns": ["c", "b", "a"], "data": [["z", 2, None]]})[0] == 200
    assert seen.pop().tolist() == [[2, None, "z"]]
    assert ask(made, wire.LEGION, {"data": []})[0] == 200
    assert seen.pop().shape == (0, 3)
    status, refusal = ask(made, wire.LEGION, {"columns": ["b", "a", "d"], "data": [[1, 2, 3]]})
    assert (status, refusal["column"]) == (422, "c")
    assert "missing columns: 'c'; unknown columns: 'd'" in refusal["message"]


def test_columns_order_over_columns_of_known_types() -> None:
    signature = Signature((Field("a", "double"), Field("b", "long")))
    made, seen = given(["b", "a"], signature=signature)
    assert made.signature.inputs == signature.inputs[::-1]
    assert ask(made, wire.LEGION, {"columns": ["a", "b"], "data": [[1, 2]]})[0] == 200
    assert (seen[0].tolist(), seen[0].dtype) == ([[2, 1]], "float64")
    assert ask(made, wire.LEGION, {"columns": ["a", "b"], "data": [[1, 2.5]]})[0] == 422


@pytest.mark.parametrize("order", ["ab", ["a", "a"], [1, 2], ["a", "nowhere"]])
def test_a_wrong_columns_order_is_told(order: Any) -> None:
    with pytest.raises(WorkerError, match="columns_order"):
        given(order, signature=Signature((Field("a", "double"), Field("b", "long"))))


def test_aliases_in_json_and_python_s_names_in_columns_order() -> None:
    made, seen = given(
        ["acid", "pH"],
        """
    def info():
        from pydantic import BaseModel, Field
        class Wine(BaseModel):
            pH: float
            acid: float = Field(alias="fixed acidity")
        return Wine
    """,
    )
    assert ask(made, wire.LEGION, {"columns": ["pH", "fixed acidity"], "data": [[3, 7.5]]})[0] == 200
    assert seen[0].tolist() == [[7.5, 3.0]]
    assert ask(made, wire.LEGION, {"data": [[7.5, 3]]})[0] == 200
    assert seen[1].tolist() == [[7.5, 3.0]]


def test_an_openapi_document_of_generation_1() -> None:
    document = {"openapi": "3.0.0", "paths": {"/x": {"post": {"responses": {"200": {}}}}}}
    made, _ = given(
        ["a"], 'def info(): return {"openapi": "3.0.0", "paths": {"/x": {"post": {"responses": {200: {}}}}}}'
    )
    assert made.describe() == document


def test_a_json_schema_of_generation_1() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number"}}}
    made, _ = given(["a"], f"def info(): return {schema!r}")
    assert made.describe() == {"x-legion-input": schema}


def test_an_info_that_is_no_json_is_told() -> None:
    for info in ('{"openapi": "3.0.0", "x": object()}', '([{"name": "a", "example": object()}], [])'):
        with pytest.raises(WorkerError, match="gives what JSON cannot hold; correct it"):
            given(["a"], f"def info(): return {info}")


def test_the_json_encoder_of_generation_1() -> None:
    made = model("""
    import datetime, decimal, json
    import numpy as np
    from pydantic import BaseModel

    class Inner(BaseModel):
        price: decimal.Decimal

    class Encoder(json.JSONEncoder):
        def default(self, value):
            if isinstance(value, decimal.Decimal): return str(value)
            if isinstance(value, datetime.date): return value.year
            return super().default(value)

    def init(): pass
    def predict(one):
        return {"own": decimal.Decimal("1.50"), "date": datetime.date(2020, 1, 2), "array": np.array([1.5]),
                "one": np.int64(3), "nested": Inner(price=decimal.Decimal("2.50")), "nan": float("nan")}
    def get_json_encoder(): return Encoder
    """)
    expected = {
        "own": "1.50",
        "date": 2020,
        "array": [1.5],
        "one": 3,
        "nested": {"price": "2.50"},
        "nan": None,
    }
    assert ask(made, wire.LEGION, [{}]) == (200, [expected])
    assert ask(made, wire.MLFLOW, {"inputs": [{}]}) == (200, {"predictions": [expected]})


def test_predict_of_generation_1_gives_what_it_likes() -> None:
    made = model("""
    import numpy as np
    def init(): pass
    def predict(one): return {"n": 5, "s": "text", "l": (1, 2), "a": np.arange(2), "d": {"x": None}}[one["key"]]
    """)
    assert ask(made, wire.LEGION, [{"key": key} for key in "nslad"]) == (200, [5, "text", [1, 2], [0, 1], {"x": None}])
    assert ask(made, wire.LEGION, [{}]) == (400, {"message": "Exception during prediction: 'key'"})
