"""MLmodel: all that MLflow writes is read, whatever else comes is refused with every fault at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from legion.artifact.mlmodel import MAX_BYTES, MLmodel, parse, read_mlmodel
from legion.errors import ArchiveError, ManifestError
from legion.signature import Field, Param, Signature

# As MLflow 1.2 wrote it; somebody has taken the quotes off the date.
OLD = b"""\
artifact_path: model
flavors:
  python_function:
    data: model.pkl
    env: conda.yaml
    loader_module: mlflow.sklearn
    python_version: 3.6.8
  sklearn:
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 0.19.1
run_id: 43b2e7a4d8f14a5d8f8a7b6c5d4e3f2a
utc_time_created: 2019-11-08 01:01:51.334012
"""
# As MLflow 3 writes it, cut a little.
NEW = b"""\
artifact_path: file:///mlruns/1/models/m-8f0f1d2c/artifacts
env_vars: null
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.skops
    predict_fn: predict
    python_version: 3.11.7
    with_context: true
  sklearn:
    code: null
    sklearn_version: 1.8.0
is_signature_from_type_hint: false
metadata: {1: one, null: x, '1': more, day: 2020-01-02, seed: 99999999999999999999, same: &id001 [1], again: *id001}
mlflow_version: 3.4.0
model_id: m-8f0f1d2c
model_size_bytes: 1404
saved_input_example_info:
  artifact_path: input_example.json
  serving_input_path: serving_input_example.json
  type: dataframe
signature:
  inputs: '[{"type": "double", "name": "alcohol", "required": true}, {"type": "long",
    "name": "k", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]'
  params: '[{"name": "t", "type": "double", "default": 0.5, "shape": null}]'
type_hint_from_example: false
utc_time_created: '2026-01-02 03:04:05.000006'
"""


def faults(content: bytes | str) -> dict[str, str]:
    with pytest.raises(ManifestError) as caught:
        parse(content if isinstance(content, bytes) else content.encode())
    assert str(caught.value).startswith("MLmodel has ")
    return dict(caught.value.faults)


def test_an_old_file_is_read() -> None:
    assert parse(OLD) == MLmodel(
        {
            "python_function": {
                "data": "model.pkl",
                "env": "conda.yaml",
                "loader_module": "mlflow.sklearn",
                "python_version": "3.6.8",
            },
            "sklearn": {
                "pickled_model": "model.pkl",
                "serialization_format": "cloudpickle",
                "sklearn_version": "0.19.1",
            },
        },
        run_id="43b2e7a4d8f14a5d8f8a7b6c5d4e3f2a",
    )


def test_a_new_file_is_read() -> None:
    found = parse(NEW)
    assert found.flavors == yaml.safe_load(NEW)["flavors"]
    assert found.signature == Signature(
        (Field("alcohol", "double"), Field("k", "long", required=False)),
        (Field(None, "tensor", dtype="float64", shape=(-1,)),),
        (Param("t", "double", 0.5),),
    )
    assert (found.run_id, found.model_id, found.mlflow_version) == (None, "m-8f0f1d2c", "3.4.0")
    assert found.serving_example == "serving_input_example.json"


def test_what_mlflow_writes_today_is_read(tmp_path: Path) -> None:
    shared = {"temperature": 0.5, "stop": ["a", "b"]}
    model = Model(
        artifact_path="model",
        run_id="12345678901234567890123456789012",
        signature=ModelSignature(
            inputs=Schema([ColSpec("double", f"column {number} é") for number in range(500)]),
            params=ParamSchema([ParamSpec("t", "double", 0.5)]),
        ),
        metadata={"one": shared, "two": shared, "raw": b"abc", "some": {"x"}, 3: None},
    )
    # Held twice, so that PyYAML writes an anchor and an alias.
    model.add_flavor("python_function", loader_module="mine", config=shared, model_config=shared, data=None)
    model.save(tmp_path / "MLmodel")
    assert "*id00" in (tmp_path / "MLmodel").read_text()
    found = read_mlmodel(tmp_path)
    assert found.flavors == model.flavors
    assert len(found.signature.inputs) == 500
    assert found.signature.inputs[7].name == "column 7 é"
    assert found.signature.params == (Param("t", "double", 0.5),)
    assert found.run_id == "12345678901234567890123456789012"


@pytest.mark.parametrize("signature", ["null", "{}", "{inputs: null, outputs: '', params: null}"])
def test_a_model_may_have_no_signature(signature: str) -> None:
    assert parse(f"flavors: {{python_function: {{}}}}\nsignature: {signature}\n".encode()).signature == Signature()


def test_every_fault_is_told_at_once() -> None:
    found = faults(
        """
flavors:
  python_function: mlflow.sklearn
  sklearn: {seed: 18446744073709551616, same: *nothing}
signature:
  inputs: '[{"name": "a"}]'
  outputs: [a]
  params: '{'
run_id: [1]
saved_input_example_info: {serving_input_path: 3}
"""
    )
    assert list(found) == [
        "line 4",
        "flavors.sklearn.seed",
        "flavors.python_function",
        "signature.inputs",
        "signature.outputs",
        "signature.params",
        "run_id",
        "saved_input_example_info.serving_input_path",
    ]
    assert "64 bits" in found["flavors.sklearn.seed"]
    assert "lacks 'type'" in found["signature.inputs"]


SIDES: dict[str, Any] = {
    "a name that is a number": [{"type": "double", "name": 3}],
    "a type that is a list": [{"type": ["double"], "name": "a"}],
    "a dimension that is text": [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": ["a"]}}],
    "a dtype that is a number": [{"type": "tensor", "tensor-spec": {"dtype": 64, "shape": [-1]}}],
    "a tensor without a shape": [{"type": "tensor", "tensor-spec": {"dtype": "float64"}}],
    "no list": {"a": "double"},
    "text": "double",
    "a number": 3,
    "a number in the list": [3],
    "more than 64 bits": [{"type": "object", "properties": {"a": {"default": 2**64}}}],
    "half a character": [{"type": "double", "name": "\ud800"}],
}


@pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)
def test_a_signature_that_no_worker_could_be_told_is_a_fault(side: Any) -> None:
    text = yaml.safe_dump({"flavors": {"python_function": {}}, "signature": {"inputs": json.dumps(side)}})
    assert list(faults(text)) == ["signature.inputs"]


@pytest.mark.parametrize("text", ["[" * 100_000, "[1" + "0" * 10_000 + "]", "{", "nonsense", "[NaN"])
def test_a_signature_that_is_no_json_is_a_fault(text: str) -> None:
    assert list(faults(f"flavors: {{a: {{}}}}\nsignature: {{inputs: '{text}'}}\n")) == ["signature.inputs"]


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (b"", "(file)"),
        (b"text", "(file)"),
        (b"[a]", "(file)"),
        (b"\xff\xfe", "(file)"),
        (b"a: 1", "flavors"),
        (b"flavors:", "flavors"),
        (b"flavors: [a]", "flavors"),
        (b"flavors: &a {x: *a}", "line 1"),
        (b"flavors: !!python/object/apply:os.system ['true']", "line 1"),
        (b"[" * 100_000, "line 1"),
        (b"a" * (MAX_BYTES + 1), "(file)"),
        (b"flavors: {a: {}}\nsignature: text", "signature"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_mlmodel_is_refused(content: bytes, path: str) -> None:
    assert path in faults(content)


def test_a_folder_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="MLmodel cannot be read"):
        read_mlmodel(tmp_path)
