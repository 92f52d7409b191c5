"""Hand-written GPPI modules in the registry: loaded by a plain MLflow client on a machine without Legion."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from legion.artifact import manifest as manifests
from legion.artifact.archive import digest, pack
from legion.artifact.plan import plan_for
from legion.reference import parse as parse_reference
from legion.registry import flavor
from legion.registry.store import pull, push
from legion.replica import ask
from legion.wire import MLFLOW, Call

MATRIX = """
import os
from pathlib import Path
import weights  # a module beside this one

TOLD = [{"name": "a", "type": "number", "required": True}, {"name": "b", "type": "number", "required": False}]
state = {}

def init():
    state["bias"] = float((Path(os.environ["MODEL_LOCATION"]) / "bias.txt").read_text())
    state["also"] = float(open("bias.txt").read())
    return "matrix"

def predict_on_matrix(input_matrix, provided_columns_names=None):
    assert state["bias"] == state["also"]
    names = ",".join(provided_columns_names or ["-"])
    return [[sum(row) * weights.FACTOR + state["bias"], names] for row in input_matrix.tolist()], ["total", "names"]

def get_info():
    return TOLD, [{"name": "total", "type": "number"}, {"name": "names", "type": "string"}]
"""

OBJECTS = """
import json
from pydantic import BaseModel

class Wine(BaseModel):
    name: str
    sugar: float = 1.5

class Encoder(json.JSONEncoder):
    def default(self, o):
        return sorted(o)

def init():
    return "objects"

def get_object_input_type():
    return Wine

def get_output_json_serializer():
    return Encoder

def predict_on_objects(objects):
    return [{"name": wine.name.upper(), "sugar": wine.sugar, "tags": {"b", "a"}} for wine in objects]
"""


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry of its own."""
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/mlflow.db"


def packed(folder: Path, out: Path) -> Path:
    """A model folder with its manifest as an artifact."""
    pack(folder, manifests.parse((folder / "legion.model.yaml").read_bytes(), "legion.model.yaml"), out)
    return out


def plain_client(program: str, uri: str, folder: Path) -> Any:
    """What a program prints as JSON in an interpreter that has MLflow and cannot import Legion."""
    preamble = f"""
import json, os, sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name == "legion" or name.startswith("legion."):
            raise ModuleNotFoundError("no legion on this machine", name=name)
sys.meta_path.insert(0, Gone())
os.environ["MLFLOW_TRACKING_URI"] = {uri!r}
import mlflow, pandas, numpy
"""
    done = subprocess.run(
        [sys.executable, "-c", preamble + program], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def matrix(gppi_folder: Callable[..., Path]) -> Path:
    """A module in matrix mode with files of its own."""
    folder = gppi_folder(MATRIX, name="sums")
    (folder / "weights.py").write_text("FACTOR = 10\n")
    (folder / "bias.txt").write_text("0.5")
    return folder


@pytest.mark.slow
def test_a_module_in_matrix_mode_loads_without_legion(matrix: Path, tmp_path: Path, uri: str) -> None:
    made = packed(matrix, tmp_path / "sums.zip")
    push(made, "sums", alias="champion", stage="Production", tracking_uri=uri)
    program = """
answers = []
for where in ("models:/sums@champion", "models:/sums/Production"):
    model = mlflow.pyfunc.load_model(where)
    # By name, in any order; the working directory is the caller's.
    answers.append(model.predict(pandas.DataFrame({"b": [2.0], "a": [1.0]})).to_dict(orient="records"))
answers.append(model.predict(pandas.DataFrame({"a": [4.0]})).to_dict(orient="records"))
try:
    model.predict(pandas.DataFrame({"b": [2.0]}))
except mlflow.MlflowException as error:
    answers.append("a" in str(error))
answers.append(model.metadata.signature.inputs.input_names())
print(json.dumps(answers))
"""
    answer = [{"total": 30.5, "names": "a,b"}]
    assert plain_client(program, uri, tmp_path) == [answer, answer, [{"total": 40.5, "names": "a"}], True, ["a", "b"]]


@pytest.mark.slow
def test_a_module_in_objects_mode_loads_without_legion(
    gppi_folder: Callable[..., Path], tmp_path: Path, uri: str
) -> None:
    made = packed(gppi_folder(OBJECTS, name="wines"), tmp_path / "wines.zip")
    push(made, "wines", alias="champion", tracking_uri=uri)
    program = """
model = mlflow.pyfunc.load_model("models:/wines@champion")
answers = [model.predict([{"name": "a"}, {"name": "b", "sugar": 2}]), model.predict(pandas.DataFrame({"name": ["c"]}))]
try:
    model.predict([{"sugar": 2}])
except Exception as error:
    answers.append("name" in str(error))
print(json.dumps(answers))
"""
    assert plain_client(program, uri, tmp_path) == [
        [{"name": "A", "sugar": 1.5, "tags": ["a", "b"]}, {"name": "B", "sugar": 2.0, "tags": ["a", "b"]}],
        [{"name": "C", "sugar": 1.5, "tags": ["a", "b"]}],
        True,
    ]


@pytest.mark.slow
def test_two_versions_live_in_one_process(matrix: Path, tmp_path: Path, uri: str) -> None:
    push(packed(matrix, tmp_path / "one.zip"), "sums", tracking_uri=uri)
    (matrix / "weights.py").write_text("FACTOR = 100\n")
    (matrix / "bias.txt").write_text("0.25")
    push(packed(matrix, tmp_path / "two.zip"), "sums", tracking_uri=uri)
    program = """
here = os.getcwd()
models = [mlflow.pyfunc.load_model(f"models:/sums/{number}") for number in (1, 2, 1)]
frame = pandas.DataFrame({"a": [1.0], "b": [2.0]})
print(json.dumps([[float(model.predict(frame)["total"][0]) for model in models], os.getcwd() == here]))
"""
    assert plain_client(program, uri, tmp_path) == [[30.5, 300.25, 30.5], True]


@pytest.mark.slow
def test_mlflow_s_own_server_answers_as_the_module_says(matrix: Path, tmp_path: Path, uri: str) -> None:
    push(packed(matrix, tmp_path / "sums.zip"), "sums", tracking_uri=uri)
    program = """
from mlflow.pyfunc import scoring_server
model = mlflow.pyfunc.load_model("models:/sums/1")
body = json.dumps({"dataframe_split": {"columns": ["b", "a"], "data": [[2.0, 1.0], [0.0, 0.0]]}})
print(scoring_server.invocations(body, "application/json", model, model.metadata.get_input_schema()).response)
"""
    assert plain_client(program, uri, tmp_path) == {
        "predictions": [{"total": 30.5, "names": "a,b"}, {"total": 0.5, "names": "a,b"}]
    }


@pytest.mark.slow
def test_what_comes_back_has_the_same_digest_whoever_loaded_it_in_between(
    matrix: Path, tmp_path: Path, uri: str
) -> None:
    made = packed(matrix, tmp_path / "sums.zip")
    version = push(made, "sums", alias="champion", tracking_uri=uri)
    logged = f"models:/{version.model_id}"
    for number, text in enumerate(("models:/sums@champion", logged, "models:/sums/latest")):
        folder = pull(parse_reference(text), tmp_path / f"pulled{number}", tracking_uri=uri)
        assert not (folder / "MLmodel").exists()
        assert digest(packed(folder, tmp_path / f"again{number}.zip")) == digest(made)
        # Loading a model in place, as MLflow does with local files, leaves compiled files beside it.
        store = (
            next(tmp_path.glob("mlruns/*/models/*/artifacts"), None) or next(tmp_path.rglob("artifacts/MLmodel")).parent
        )
        (store / "__pycache__").mkdir(exist_ok=True)
        (store / "__pycache__" / "weights.cpython-311.pyc").write_bytes(b"compiled")


@pytest.mark.parametrize(
    ("source", "inputs"),
    [
        (MATRIX, ["a", "b"]),
        (MATRIX.replace("return TOLD,", "return list(TOLD),"), None),
        (MATRIX.replace('return "matrix"', 'return "objects"'), None),
        (MATRIX.replace('"type": "number"', '"type": "odd"'), None),
        (MATRIX.replace('"name": "a"', '"name": 1'), None),
        ("this is no Python", None),
        ("def init(): return 'matrix'", None),
    ],
)
def test_a_signature_is_told_only_where_the_source_says_it(
    tmp_path: Path, source: str, inputs: list[str] | None
) -> None:
    (tmp_path / "entrypoint.py").write_text(source)
    told = flavor.told_signature(tmp_path, "entrypoint")
    if inputs is None:
        assert told is None
    else:
        assert told is not None
        assert [column["name"] for column in json.loads(told["inputs"])] == inputs
        assert json.loads(told["inputs"])[1]["required"] is False


def test_reading_the_signature_runs_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    (tmp_path / "entrypoint.py").write_text(f"open({str(trap)!r}, 'w')\n" + MATRIX)
    assert flavor.told_signature(tmp_path, "entrypoint") is not None
    assert not trap.exists()


def test_a_model_that_mlflow_cannot_run_says_so(tmp_path: Path) -> None:
    binaries = manifests.Binaries(type="java", conda_path=None)
    described = manifests.Manifest(
        manifests.Model("jar", "1.0.0-a", ".", "model.jar"), manifests.Toolchain("hand", "1.0.0"), binaries
    )
    flavor.add(tmp_path, described, "3.17.2")
    document = yaml.safe_load((tmp_path / "MLmodel").read_text())
    assert list(document["flavors"]) == ["legion"]
    assert flavor.is_in(tmp_path)


def test_an_mlflow_model_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.sklearn}}\n")
    described = manifests.Manifest(manifests.Model("m", "1.0.0-a"), manifests.Toolchain("mlflow", "3.17.2"))
    flavor.add(tmp_path, described, "3.17.2")
    assert [path.name for path in tmp_path.iterdir()] == ["MLmodel"]
    assert not flavor.is_in(tmp_path)


# How matrices come back in the wild.
KINDS = {
    "array": "input_matrix * 2",
    "named": "(input_matrix * 2, ['x', 'y'])",
    "named lists": "[[str(v) for v in row] for row in input_matrix.tolist()], ['x', 'y']",
    "lists": "[[1, 'a'] for row in input_matrix]",
    "tuples": "tuple((float(row[0]), 1) for row in input_matrix)",
    "flat": "[float(row[0]) for row in input_matrix]",
    "vector": "input_matrix[:, 0]",
    "frame": "pandas.DataFrame(input_matrix, columns=['p', 'q'])",
    "nan": "input_matrix * float('nan')",
    "told names": "[[','.join(provided_columns_names or ['-'])] for row in input_matrix], ['names']",
}
MATRIX_BODIES = [
    {"dataframe_split": {"columns": ["b", "a"], "data": [[2.0, 1.0], [0.5, 0.0]]}},
    {"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
    {"inputs": [[1.0, 2.0], [3.0, 4.0]]},
    {"instances": [[1.0, 2.0]]},
]
OBJECT_BODIES = [{"dataframe_records": [{"name": "a", "sugar": 2.5}, {"name": "b", "sugar": 1.0}]}]


@pytest.mark.slow
def test_legion_and_mlflow_answer_alike(tmp_path: Path, gppi_folder: Callable[..., Path], uri: str) -> None:
    sources = {
        kind: f"import numpy, pandas\ndef init(): return 'matrix'\n"
        f"def predict_on_matrix(input_matrix, provided_columns_names=None): return {answer}\n"
        for kind, answer in KINDS.items()
    } | {"objects": OBJECTS}
    folders, told = {}, {}
    for number, (kind, source) in enumerate(sources.items()):
        folder = gppi_folder(source, name=f"kind{number}")
        bodies = OBJECT_BODIES if kind == "objects" else MATRIX_BODIES
        described = manifests.parse((folder / "legion.model.yaml").read_bytes(), "legion.model.yaml")
        calls = [Call(MLFLOW, json.dumps(body).encode()) for body in bodies]
        replies = ask(plan_for(folder, described), Path(sys.executable), calls)[1]
        told[kind] = [json.loads(reply.body) if reply.status == 200 else None for reply in replies]
        flavor.add(folder, described, "3.17.2")
        folders[kind] = [str(folder), bodies]
    program = f"""
from mlflow.pyfunc import scoring_server
answers = {{}}
for kind, (folder, bodies) in {folders!r}.items():
    model = mlflow.pyfunc.load_model(folder)
    schema = model.metadata.get_input_schema()
    answers[kind] = [
        json.loads(scoring_server.invocations(json.dumps(body), "application/json", model, schema).response)
        for body in bodies
    ]
print(json.dumps(answers))
"""
    given = plain_client(program, uri, tmp_path)
    # MLflow writes NaN where JSON has none; Legion's answers are always valid.
    given["nan"] = json.loads(json.dumps(given["nan"]).replace("NaN", "null"))
    for kind, answers in told.items():
        assert given[kind] == answers, kind
        assert None not in answers, kind
