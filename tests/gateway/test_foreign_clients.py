"""Clients that others wrote, unmodified, against a real server: MLflow's own, KServe's, MLServer's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.deployments import PredictionsResponse, get_deploy_client
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from conftest import Server

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
# Each client in an environment of its own, since they want other versions than Legion's; kept for the next run.
CLIENTS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "legion-tests" / "clients"

# Sums two columns; `name` is given back.
PROBE = """
    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[a + b, name * 2] for a, b, name in input_matrix.tolist()], ["sum", "twice"]

    def get_info():
        column = lambda name, kind: {"name": name, "type": kind, "example": 1, "required": True}
        return [column("a", "number"), column("b", "long"), {**column("name", "string"), "example": "x"}], [
            column("sum", "number"), column("twice", "string")
        ]
"""
ANSWERS = {"sum": [2.5, 4.5], "twice": ["xx", "éé"]}
# What the examples in MLflow's documentation are sent to.
ECHO = """
import mlflow.pyfunc


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * (params or {}).get("factor", 1)


mlflow.models.set_model(Echo())
"""


@pytest.fixture(scope="module")
def probe(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> Server:
    """A model of two numbers and a text, by HTTP and gRPC."""
    return start_server(gppi_folder(PROBE), "--env", "local", "--grpc-port", "0")


def echo(folder: Path, **kinds: Any) -> Path:
    """A custom model that gives its input back, times the parameter `factor`."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    (folder / "echo_model.py").write_text(ECHO)
    signature = ModelSignature(params=ParamSchema([ParamSpec("factor", "integer", 1)]), **kinds)
    mlflow.pyfunc.save_model(
        folder / "model", python_model=str(folder / "echo_model.py"), signature=signature, pip_requirements=[]
    )
    return folder / "model"


@pytest.fixture(scope="module")
def columns(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Columns x and y."""
    from mlflow.types import ColSpec, Schema

    schema = Schema([ColSpec("double", "x"), ColSpec("double", "y")])
    return start_server(echo(tmp_path_factory.mktemp("columns"), inputs=schema), "--env", "local")


@pytest.fixture(scope="module")
def tensor(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """One tensor of shape (-1, 2)."""
    from mlflow.types import Schema, TensorSpec

    schema = Schema([TensorSpec(np.dtype("float64"), (-1, 2))])
    return start_server(echo(tmp_path_factory.mktemp("tensor"), inputs=schema), "--env", "local")


def test_mlflow_s_scoring_server_client(columns: Server) -> None:
    client = ScoringServerClient("127.0.0.1", columns.port)
    client.wait_server_ready(timeout=10)
    client.ping()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", client.get_version())
    rows = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    answer = client.invoke(rows)
    assert isinstance(answer, PredictionsResponse)
    assert answer.get_predictions().to_dict("list") == {"x": [1.0, 2.0], "y": [3.0, 4.0]}
    assert client.invoke(rows, params={"factor": 3}).get_predictions()["y"].tolist() == [9.0, 12.0]
    with pytest.raises(Exception, match=r"error code 400.*missing.*y"):
        client.invoke(rows[["x"]])


def test_mlflow_s_scoring_server_client_with_arrays(tensor: Server) -> None:
    client = ScoringServerClient("127.0.0.1", tensor.port)
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert client.invoke(rows).get_predictions("ndarray").tolist() == rows.tolist()
    assert json.loads(client.invoke(rows).to_json()) == {"predictions": rows.tolist()}


# As https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally writes them, for these columns.
@pytest.mark.parametrize(
    ("body", "content_type", "answer"),
    [
        (
            '{"dataframe_split": {"columns": ["x", "y"], "data": [[1.0, 2.0], [3.0, 4.0]]}}',
            "application/json",
            [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}],
        ),
        (
            '{"dataframe_split": {"index": [0], "columns": ["x", "y"], "data": [[1.0, 2.0]]}}',
            "application/json; charset=utf-8",
            [{"x": 1.0, "y": 2.0}],
        ),
        (
            '{"dataframe_records": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}',
            "application/json",
            [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}],
        ),
        (
            '{"inputs": {"x": [1.0], "y": [2.0]}, "params": {"factor": 2}}',
            "application/json",
            [{"x": 2.0, "y": 4.0}],
        ),
        ("x,y\n1.0,2.0\n", "text/csv", [{"x": 1.0, "y": 2.0}]),
        ("x,y\n1.0,2.0\n", "text/csv; charset=utf-8", [{"x": 1.0, "y": 2.0}]),
    ],
)
def test_requests_as_mlflow_s_documentation_writes_them(
    columns: Server, body: str, content_type: str, answer: list[dict[str, float]]
) -> None:
    found = requests.post(f"{columns.url}/invocations", data=body, headers={"Content-Type": content_type}, timeout=60)
    assert (found.status_code, found.json()) == (200, {"predictions": answer})


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_tensors_as_mlflow_s_documentation_writes_them(tensor: Server, form: str) -> None:
    found = tensor.post("/invocations", {form: [[1.0, 2.0]], "params": {"factor": 5}})
    assert (found.status_code, found.json()) == (200, {"predictions": [[5.0, 10.0]]})


def test_mlflow_s_deployments_client(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    server = start_server(gppi_folder(PROBE), "--env", "local", "--admin", "--state", state)
    client = get_deploy_client(f"legion:{server.url}")
    rows = pd.DataFrame({"a": [1.5, 2.5], "b": [1, 2], "name": ["x", "é"]})
    answer = client.predict("probe", rows)
    assert answer.get_predictions().to_dict("list") == ANSWERS


def client_environment(name: str) -> Path:
    """The folder of programs of an environment that holds this package; skips where it cannot be had."""
    folder = CLIENTS / name
    uv = Path(sys.executable).parent / "uv"
    made = folder / ".made"
    if not made.exists():
        install = ("pip", "install", "--quiet", "--python", str(folder), name)
        for command in (("venv", "--quiet", "--clear", "--python", sys.executable, str(folder)), install):
            ended = subprocess.run([str(uv), *command], capture_output=True, text=True, check=False, timeout=240)
            if ended.returncode != 0:
                last = ended.stderr.strip().splitlines()[-1:]
                pytest.skip(f"{name} cannot be installed here, so its client is not tried: {' '.join(last)}")
        made.touch()
    return folder / "bin"


def grpc_address(server: Server) -> str:
    """Where it speaks gRPC."""
    found = re.search(r"over gRPC at (\S+)", server.log.read_text())
    assert found is not None
    return found[1]


@pytest.mark.timeout(600)
def test_the_kserve_client(probe: Server) -> None:
    python = client_environment("kserve") / "python"
    command = [str(python), str(HERE / "foreign" / "kserve_calls.py"), probe.url, grpc_address(probe)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    ready = ("live", "ready", "model ready", "grpc live", "grpc ready", "grpc model ready")
    assert all(said[key] is True for key in ready), said
    assert said["nobody ready"] is False
    whole = {"id": "r-1", "model": "probe", "outputs": ANSWERS}
    for form in ("json", "binary", "grpc typed", "grpc raw"):
        assert said[form] == whole, form
    assert said["wanted"]["outputs"] == {"sum": ANSWERS["sum"]}
    assert "no model 'nobody' is served here" in said["refused"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("binary", [False, True])
def test_mlserver_infer(probe: Server, tmp_path: Path, binary: bool) -> None:
    mlserver = client_environment("mlserver") / "mlserver"
    one = {
        "inputs": [
            {"name": "a", "shape": [1], "datatype": "FP64", "data": [1.5]},
            {"name": "b", "shape": [1], "datatype": "INT64", "data": [1]},
            {"name": "name", "shape": [1], "datatype": "BYTES", "data": ["x"]},
        ]
    }
    requests_, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    requests_.write_text(f"{json.dumps(one)}\n" * 3)
    command = [mlserver, "infer", "-u", f"127.0.0.1:{probe.port}", "-m", "probe", "-i", requests_, "-o", answers]
    command += ["-w", "2", "-s", "2", *(["-b"] if binary else [])]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(found) == 3, ended.stderr
    for answer in found:
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        assert outputs["sum"] == [2.5], ended.stderr
