"""What is said of a model's tensors, by its signature, by the type of its objects and by its example."""

from __future__ import annotations

from typing import Any

import pytest

from legion.gateway.openapi import infer_example, infer_schema, model_tensors
from legion.signature import Field, Signature
from legion.wire import Report

TYPE = {
    "$defs": {"Colour": {"enum": ["red", "white"], "type": "string"}, "Wine": {"type": "object"}},
    "type": "object",
    "properties": {
        "alcohol": {"type": "number"},
        "colour": {"$ref": "#/$defs/Colour"},
        "year": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "notes": {"type": "array", "items": {"type": "string"}},
        "kept": {"type": ["boolean", "null"]},
    },
    "required": ["alcohol", "colour"],
}


def objects(schema: Any, key: str = "x-legion-input") -> Report:
    return Report(mode="objects", openapi={key: schema})


def matrix(*kinds: str, named: bool = True) -> Report:
    return Report(signature=Signature(tuple(Field(f"c{n}" if named else None, k) for n, k in enumerate(kinds))))


def tensor(*fields: tuple[str | None, str, tuple[int, ...]]) -> Report:
    found = tuple(Field(name, "tensor", dtype=dtype, shape=shape) for name, dtype, shape in fields)
    return Report(mode="whole", signature=Signature(found))


def test_the_fields_of_a_declared_type_are_inputs() -> None:
    found = model_tensors.metadata(objects(TYPE))
    assert [(one["name"], one["datatype"]) for one in found["inputs"]] == [
        ("alcohol", "FP64"),
        ("colour", "BYTES"),
        ("year", "INT64"),
        ("kept", "BOOL"),
    ]
    assert found["outputs"] == [{"name": "predict", "datatype": "FP64", "shape": [-1]}]
    nested: dict[str, Any] = {"$ref": "#/$defs/Self", "$defs": {"Self": {**TYPE, "$defs": {}}}}
    nested["$defs"] |= TYPE["$defs"]
    assert model_tensors.metadata(objects(nested)) == found
    outputs = model_tensors.metadata(objects(TYPE, "x-legion-output"))["outputs"]
    assert [one["name"] for one in outputs] == ["alcohol", "colour", "year", "kept"]


@pytest.mark.parametrize(
    "schema",
    [
        {**TYPE, "required": ["notes"]},
        {"type": "object"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"properties": {"a": True}, "required": ["a"]},
        {"properties": {"a": {"anyOf": [{"type": "number"}, {"type": "string"}]}}, "required": ["a"]},
        {"properties": []},
    ],
)
def test_what_no_tensor_can_hold_is_no_input(schema: dict[str, Any]) -> None:
    assert model_tensors.metadata(objects(schema))["inputs"] == []


def test_a_matrix_has_no_fields_of_objects() -> None:
    report = Report(openapi={"x-legion-input": TYPE})
    assert model_tensors.metadata(report)["inputs"] == []


SPLIT = {"columns": ["c1", "c0"], "data": [[1, 0.5], [2, None]]}


@pytest.mark.parametrize(
    ("report", "example", "expected"),
    [
        (matrix("double", "long"), {"dataframe_split": SPLIT}, [("c1", "INT64", [1, 2]), ("c0", "FP64", [0.5, None])]),
        (
            matrix("float", "long"),
            {"dataframe_records": [{"c0": 1, "c1": 2}]},
            [("c0", "FP32", [1]), ("c1", "INT64", [2])],
        ),
        (matrix("boolean"), {"inputs": {"c0": [True, False]}}, [("c0", "BOOL", [True, False])]),
        (matrix("any"), {"instances": [{"c0": "x"}]}, [("c0", "BYTES", ["x"])]),
        (matrix("long", "long"), {"dataframe_split": SPLIT}, None),
        (matrix("string"), {"dataframe_split": {"columns": ["c0"], "data": [[1]]}}, None),
        (matrix("double"), {"dataframe_split": {"columns": ["c0"], "data": [[True]]}}, None),
        (matrix("double"), {"dataframe_split": {"columns": ["c0"], "data": [[1, 2]]}}, None),
        (matrix("double"), {"dataframe_split": {"columns": ["c0"], "data": []}}, None),
        (
            objects(TYPE),
            {"dataframe_records": [{"alcohol": 1, "colour": "red", "notes": ["x"]}]},
            [("alcohol", "FP64", [1]), ("colour", "BYTES", ["red"])],
        ),
        (objects(TYPE), {"dataframe_records": [{"alcohol": None, "colour": None}]}, None),
        (objects(None), {"dataframe_records": [{"a": 1, "b": "x"}]}, [("a", "INT64", [1]), ("b", "BYTES", ["x"])]),
        (Report(mode="whole"), {"inputs": ["a", "b"]}, None),
        (Report(mode="whole"), {"messages": []}, None),
    ],
)
def test_an_example_as_tensors(report: Report, example: dict[str, Any], expected: list[Any] | None) -> None:
    found = infer_example.converted(report, example)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        tensors = [(one["name"], one["datatype"], one["data"]) for one in found["inputs"]]
        assert tensors == expected
        assert all(one["shape"] == [len(one["data"])] for one in found["inputs"])


def test_a_column_that_may_be_missing_is_left_out_of_the_example() -> None:
    report = Report(signature=Signature((Field("a", "double"), Field("b", "long", required=False))))
    found = infer_example.converted(report, {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, None]]}})
    assert found is not None
    assert [one["name"] for one in found["inputs"]] == ["a"]


@pytest.mark.parametrize(
    ("report", "example", "expected"),
    [
        (
            matrix("double", "double", named=False),
            {"dataframe_split": {"data": [[1, 2.5]]}},
            ("FP64", [1, 2], [1, 2.5]),
        ),
        (Report(), {"inputs": [[1, 2], [3, 4]]}, ("INT64", [2, 2], [1, 2, 3, 4])),
        (tensor((None, "float32", (-1, 1, 2))), {"instances": [[[1, 2]]]}, ("FP32", [1, 1, 2], [1, 2])),
        (tensor((None, "float32", (-1, 2))), {"inputs": [[1, 2], [3]]}, None),
        (tensor((None, "int8", (-1,))), {"inputs": [1.5]}, None),
        (tensor(("a", "int64", (-1,)), ("b", "int64", (-1,))), {"inputs": {"a": [1]}}, None),
    ],
)
def test_an_example_as_one_tensor(report: Report, example: dict[str, Any], expected: Any) -> None:
    found = infer_example.converted(report, example)
    made = None if found is None else [(t["datatype"], t["shape"], t["data"]) for t in found["inputs"]]
    assert made == (None if expected is None else [expected])


def test_named_tensors_as_they_are() -> None:
    report = tensor(("a", "int64", (-1, 2)), ("b", "str", (-1,)))
    found = infer_example.converted(report, {"inputs": {"a": [[1, 2]], "b": ["x"]}})
    assert found is not None
    assert found["inputs"] == [
        {"name": "a", "shape": [1, 2], "datatype": "INT64", "data": [1, 2]},
        {"name": "b", "shape": [1], "datatype": "BYTES", "data": ["x"]},
    ]
    items = infer_schema.request(report)["properties"]["inputs"]["items"]["anyOf"]
    assert [one["properties"]["name"]["const"] for one in items] == ["a", "b"]
    assert items[0]["properties"]["shape"]["prefixItems"][1] == {"const": 2}


def test_all_columns_in_one_tensor_only_where_that_is_read() -> None:
    def forms(report: Report) -> list[Any]:
        return list(infer_schema.request(report)["properties"]["inputs"].get("anyOf", []))

    assert len(forms(matrix("double", "long"))) == 2
    assert forms(matrix("double", "string")) == []
    assert forms(objects(TYPE)) == []
    taken = forms(matrix("double", "long"))[1]["items"]["properties"]["datatype"]["enum"]
    assert "INT64" in taken
    assert "FP64" not in taken
