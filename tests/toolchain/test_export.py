"""An exported MLflow model is an MLflow model and an LMAF tree at the same time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from legion.artifact.archive import open_artifact, unpack
from legion.errors import ArchiveError, ManifestError, WorkerError
from legion.toolchain.export import ENTRYPOINT, Exported, Wish, export, portable_name

LINEAR = Path(__file__).parent / "models" / "linear"


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """A copy of the model 2 x length + 10 x count."""
    return Path(shutil.copytree(LINEAR, tmp_path / "linear", ignore=shutil.ignore_patterns("__pycache__")))


def make(folder: Path, out: Path, lines: list[str] | None = None, **wish: Any) -> Exported:
    say = (lines if lines is not None else []).append
    return export(folder, Wish(out=out, env="local", **wish), fallback_name="linear", cache=out.parent, say=say)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The model, exported once."""
    return make(LINEAR, tmp_path_factory.mktemp("exported") / "linear.zip")


@pytest.fixture(scope="module")
def tree(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported artifact, unpacked."""
    folder = tmp_path_factory.mktemp("tree") / "model"
    unpack(open_artifact(exported.path), folder)
    return folder


@pytest.mark.slow
def test_the_artifact_says_what_it_is(exported: Exported, tree: Path) -> None:
    manifest = open_artifact(exported.path).manifest
    assert open_artifact(exported.path).digest == exported.digest
    assert (manifest.model.name, manifest.model.version.partition("-")[0]) == ("linear", "1.0.0")
    assert manifest.model.entrypoint == ENTRYPOINT
    assert manifest.toolchain.name == "mlflow"
    assert manifest.toolchain.further == {"interface": "pyfunc"}
    assert manifest.binaries.conda_path == "conda.yaml"
    assert not list(tree.rglob("__pycache__"))


@pytest.mark.slow
def test_golden_answers_are_the_models_own(tree: Path) -> None:
    golden = json.loads((tree / "legion.golden.json").read_text())
    assert golden["deterministic"] is True
    answered = 0
    for case in golden["cases"]:
        split = case["request"]["dataframe_split"]
        rows = [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
        assert case["response"]["predictions"] == [2 * row["length"] + 10 * row["count"] for row in rows]
        answered += len(rows)
    assert answered >= 3


@pytest.mark.slow
def test_the_same_model_gives_the_same_digest(exported: Exported, linear: Path, tmp_path: Path) -> None:
    (linear / "code" / "__pycache__").mkdir()
    (linear / "code" / "__pycache__" / "linear_loader.cpython-311.pyc").write_bytes(b"compiled")
    (linear / "registered_model_meta").write_text("model_name: linear\n")
    assert make(linear, tmp_path / "again.zip").digest == exported.digest


@pytest.mark.slow
def test_plain_mlflow_loads_the_tree(tree: Path) -> None:
    program = f"""
import mlflow, pandas
model = mlflow.pyfunc.load_model({str(tree)!r})
print(model.predict(pandas.DataFrame({{"length": [1.5], "count": [2], "colour": ["red"]}})).tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[23.0]"


ENTRYPOINT_PROGRAM = """
import json, importlib, sys
entrypoint = importlib.import_module(sys.argv[1])
assert entrypoint.init() == "matrix"
names = ["count", "length"]
answer, columns = entrypoint.predict_on_matrix([[2, 1.5], [0, 1]], provided_columns_names=names)
objects = entrypoint.predict_on_objects([{"length": 1.5, "count": 2.0}])
positional = entrypoint.predict_on_matrix([[1.5, 2, "red"]])[0]
faults = []
for call in (
    lambda: entrypoint.predict_on_matrix([[1.5]], provided_columns_names=["length"]),
    lambda: entrypoint.predict_on_matrix([[1.5, 2, 3]], provided_columns_names=["length", "count", "width"]),
    lambda: entrypoint.predict_on_objects([{"length": 1.5, "count": "many"}]),
):
    try:
        call()
        faults.append(None)
    except ValueError as error:
        faults.append(str(error))
encoder = entrypoint.get_output_json_serializer()
import numpy
print(json.dumps([answer, columns, objects, positional, faults, entrypoint.get_info(), numpy.float32(0.5),
                  str(entrypoint.get_object_input_type()), str(entrypoint.get_object_output_type())], cls=encoder))
"""


@pytest.mark.slow
def test_the_entrypoint_works_in_any_reader(tree: Path, environment: dict[str, str]) -> None:
    # As a reader that knows nothing but the format: the working directory on the path, MODEL_LOCATION set.
    manifest = yaml.safe_load((tree / "legion.model.yaml").read_text())
    env = {**environment, "MODEL_LOCATION": ".", "PYTHONPATH": "."}
    done = subprocess.run(
        [sys.executable, "-c", ENTRYPOINT_PROGRAM, manifest["model"]["entrypoint"]],
        cwd=tree / manifest["model"]["workDir"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer, columns, objects, positional, faults, info, number, *types = json.loads(done.stdout)
    assert (answer, columns) == ([[23.0], [2.0]], ["result"])
    assert objects == [{"result": 23.0}]
    assert positional == [[23.0]]
    assert "missing column count" in faults[0]
    assert "unknown column width" in faults[1]
    assert "count" in faults[2]
    assert [column["name"] for column in info[0]] == ["length", "count", "colour"]
    assert [column["required"] for column in info[0]] == [True, True, False]
    assert number == 0.5
    assert all("ict[str" in kind for kind in types)


@pytest.mark.slow
def test_a_model_that_answers_at_random_is_marked(linear: Path, tmp_path: Path) -> None:
    loader = linear / "code" / "linear_loader.py"
    loader.write_text(loader.read_text().replace("Linear(json.load(file))", "Linear({'length': random.random()})"))
    loader.write_text("import random\n" + loader.read_text())
    made = make(linear, tmp_path / "random.zip")
    golden = msgspec.json.decode(open_artifact(made.path).read("legion.golden.json"))
    assert golden["deterministic"] is False


def without_signature(folder: Path) -> None:
    mlmodel = yaml.safe_load((folder / "MLmodel").read_text())
    del mlmodel["signature"]
    (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel))


def test_without_example_and_signature_there_is_no_golden_and_a_line_says_so(linear: Path, tmp_path: Path) -> None:
    without_signature(linear)
    lines: list[str] = []
    made = make(linear, tmp_path / "linear.zip", lines)
    assert made.golden_rows == 0
    assert all(member.name != "legion.golden.json" for member in open_artifact(made.path).members)
    assert any("no input example and no signature" in line for line in lines)


@pytest.mark.parametrize(
    ("env", "files", "expected"),
    [
        ("conda.yaml", ["conda.yaml"], "conda.yaml"),
        ({"conda": "envs/c.yaml"}, ["envs/c.yaml", "conda.yaml"], "envs/c.yaml"),
        ({"virtualenv": "python_env.yaml"}, ["python_env.yaml"], "python_env.yaml"),
        (None, ["requirements.txt"], "requirements.txt"),
        (None, [], "conda.yaml"),
    ],
)
def test_every_way_mlflow_wrote_its_environment_is_found(
    linear: Path, tmp_path: Path, env: Any, files: list[str], expected: str
) -> None:
    without_signature(linear)
    (linear / "conda.yaml").unlink()
    for name in files:
        (linear / name).parent.mkdir(exist_ok=True)
        (linear / name).write_text("")
    mlmodel = yaml.safe_load((linear / "MLmodel").read_text())
    mlmodel["flavors"]["python_function"]["env"] = env
    (linear / "MLmodel").write_text(yaml.safe_dump(mlmodel))
    made = make(linear, tmp_path / "linear.zip")
    assert made.manifest.binaries.conda_path == expected
    if not files:
        written = yaml.safe_load(open_artifact(made.path).read("conda.yaml"))
        assert written["dependencies"] == ["python=3.11.7", "pip", {"pip": ["mlflow==3.17.2"]}]


def test_run_and_model_ids_are_kept(linear: Path, tmp_path: Path) -> None:
    without_signature(linear)
    with (linear / "MLmodel").open("a") as file:
        file.write("run_id: 0123456789abcdef0123456789abcdef\nmodel_id: m-fedcba9876543210\n")
    made = make(linear, tmp_path, name="other")
    assert made.path == tmp_path / "other-1.0.0-fedcba98.zip"
    assert made.manifest.output == {
        "run_id": "0123456789abcdef0123456789abcdef",
        "model_id": "m-fedcba9876543210",
    }


@pytest.mark.slow
def test_a_model_that_does_not_load_leaves_no_artifact(linear: Path, tmp_path: Path) -> None:
    (linear / "weights.json").unlink()
    with pytest.raises(WorkerError):
        make(linear, tmp_path / "linear.zip")
    assert not (tmp_path / "linear.zip").exists()


def test_what_cannot_be_exported_is_refused(linear: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="MLmodel"):
        make(tmp_path, tmp_path / "x.zip")
    without_signature(linear)
    with pytest.raises(ManifestError, match=r"model\.name"):
        make(linear, tmp_path / "x.zip", name="no spaces here")
    (linear / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    with pytest.raises(ArchiveError, match="python_function"):
        make(linear, tmp_path / "x.zip")


@pytest.mark.parametrize(
    ("text", "name"),
    [("wine", "wine"), ("my_model v2", "my-model-v2"), ("--", "model"), ("ä" * 3, "model"), ("a" * 99, "a" * 63)],
)
def test_any_text_becomes_a_portable_name(text: str, name: str) -> None:
    assert portable_name(text) == name
