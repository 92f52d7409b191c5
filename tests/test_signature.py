"""Signatures as MLflow writes them into its MLmodel files."""

from __future__ import annotations

import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Map, Object, Property

from legion.signature import SCALARS, Field, Param, Signature, from_mlflow


def read(*inputs: ColSpec | TensorSpec, **more: object) -> Signature:
    return from_mlflow(ModelSignature(inputs=Schema(list(inputs)) if inputs else None, **more).to_dict())


@pytest.mark.parametrize("kind", SCALARS)
def test_every_scalar_type(kind: str) -> None:
    signature = read(ColSpec(DataType[kind], "a"), ColSpec(DataType[kind], "b", required=False))
    assert signature.inputs == (Field("a", kind), Field("b", kind, required=False))
    assert (signature.kind, signature.named) == ("columns", True)


def test_columns_without_names() -> None:
    signature = read(ColSpec("double"), ColSpec("long"))
    assert (signature.kind, signature.named, signature.inputs[1]) == ("columns", False, Field(None, "long"))


def test_tensors() -> None:
    signature = read(TensorSpec(np.dtype("float32"), (-1, 28, 28), "image"), TensorSpec(np.dtype("int64"), (-1,), "n"))
    assert signature.inputs[0] == Field("image", "tensor", dtype="float32", shape=(-1, 28, 28))
    assert signature.kind == "tensor"


@pytest.mark.parametrize(
    "kind", [Array(DataType.double), Map(DataType.long), Object([Property("x", DataType.string)]), AnyType()]
)
def test_nested_types_are_mlflow_s_to_read(kind: object) -> None:
    required = not isinstance(kind, AnyType)
    signature = read(ColSpec("double", "a"), ColSpec(kind, "z", required=required))
    assert signature.kind == "opaque"
    assert signature.inputs[1].schema is not None
    assert signature.inputs[1].required == required


def test_parameters() -> None:
    specs = [ParamSpec("rate", "double", 0.5), ParamSpec("many", "long", [1, 2], (-1,))]
    signature = read(ColSpec("double", "a"), params=ParamSchema(specs))
    assert signature.params == (Param("rate", "double", 0.5), Param("many", "long", [1, 2], (-1,)))
    assert read(ColSpec("double", "a")).params is None


def test_no_signature_and_type_hints_are_opaque() -> None:
    assert from_mlflow(None) == Signature()
    assert from_mlflow({}).kind == "opaque"
    signature = from_mlflow({"inputs": '[{"type": "double", "required": true}]'}, from_type_hints=True)
    assert signature.kind == "opaque"


def test_files_of_older_versions() -> None:
    text = '[{"name": "a", "type": "double"}, {"name": "b", "type": "long", "optional": true}]'
    signature = from_mlflow({"inputs": text})
    assert signature.inputs == (Field("a", "double"), Field("b", "long", required=False))
    assert from_mlflow({"inputs": None, "outputs": None, "params": None}) == Signature()
