"""The team stack end to end: PostgreSQL, an S3 store, MLflow between them, a custom model, Production, the curl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from conftest import legion
from real_parts import ObjectStore, Up

pytestmark = pytest.mark.slow

# What ../docs/team-stack.md shows, to the letter.
CURL_BODY = (
    '{"dataframe_split": {"columns":["fixed acidity", "volatile acidity", "citric acid", "residual sugar", '
    '"chlorides", "free sulfur dioxide", "total sulfur dioxide", "density", "pH", "sulphates", "alcohol"],'
    '"data":[[6.2, 0.66, 0.48, 1.2, 0.029, 29, 75, 0.98, 3.33, 0.39, 12.8]]}}'
)

# A helper module in a folder of its own, as code_paths takes it.
WEIGHING = """
import json

def read(path):
    with open(path) as file:
        return json.load(file)

def weigh(frame, weights):
    return sum(frame[name] * weight for name, weight in weights.items()).to_numpy()
"""

LOG = """
import json, sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd

sys.path.insert(0, "code")
body = json.loads(sys.argv[1])["dataframe_split"]
rows = pd.DataFrame(body["data"], columns=body["columns"]).astype(float)


class Wine(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        from weighing.weights import read

        self.weights = read(context.artifacts["weights"])

    def predict(self, context, model_input, params=None):
        from weighing.weights import weigh

        return weigh(model_input, self.weights)


Path("weights.json").write_text(json.dumps({"alcohol": 0.5, "pH": 1.0, "density": -2.0}))
mlflow.set_experiment("wine")
with mlflow.start_run():
    mlflow.pyfunc.log_model(
        name="model",
        python_model=Wine(),
        artifacts={"weights": "weights.json"},
        code_paths=["code/weighing"],
        signature=mlflow.models.infer_signature(rows, np.array([1.0])),
        input_example=rows,
        pip_requirements=["mlflow", "pandas"],
        registered_model_name="wine",
    )
mlflow.MlflowClient().transition_model_version_stage("wine", "1", "Production")
"""

LOAD = """
import json, sys
import mlflow
import pandas as pd
body = json.loads(sys.argv[1])["dataframe_split"]
rows = pd.DataFrame(body["data"], columns=body["columns"]).astype(float)
print(mlflow.pyfunc.load_model("models:/wine/Production").predict(rows)[0])
"""
ANSWER = 0.5 * 12.8 + 3.33 - 2 * 0.98


@pytest.fixture(scope="module")
def bucket(s3: ObjectStore) -> str:
    """The bucket of this stack."""
    return s3.new_bucket()


@pytest.fixture(scope="module")
def database(postgres: Callable[[], str]) -> str:
    """The database of this stack."""
    return postgres()


@pytest.fixture(scope="module")
def stack(up: Callable[..., Up], database: str, s3: ObjectStore, bucket: str) -> Up:
    """PostgreSQL and S3, artifacts by MLflow's server."""
    variables = {**s3.variables, "MLFLOW_BACKEND_STORE_URI": database}
    return up("--artifacts-destination", f"s3://{bucket}/team", variables=variables)


def colleague(stack: Up) -> dict[str, str]:
    """The environment of somebody who knows where MLflow is and nothing else: no key, no database."""
    hidden = ("AWS_", "MLFLOW_", "LEGION_TEST_")
    kept = {name: value for name, value in stack.environment.items() if not name.startswith(hidden)}
    return {**kept, "MLFLOW_TRACKING_URI": stack.report["tracking_uri"]}


def python(source: str, environment: dict[str, str], folder: Path) -> str:
    command = [sys.executable, "-c", source, CURL_BODY]
    found = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


def log_with_plain_mlflow(environment: dict[str, str], folder: Path) -> None:
    (folder / "code" / "weighing").mkdir(parents=True)
    (folder / "code" / "weighing" / "__init__.py").touch()
    (folder / "code" / "weighing" / "weights.py").write_text(WEIGHING)
    python(LOG, environment, folder)


def test_logged_registered_deployed_and_called(
    stack: Up, s3: ObjectStore, bucket: str, database: str, tmp_path: Path
) -> None:
    import psycopg2

    log_with_plain_mlflow(colleague(stack), tmp_path)
    # The metadata are in PostgreSQL, the files in the bucket, and neither on this machine.
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("select name, version, current_stage from model_versions")
        assert cursor.fetchall() == [("wine", 1, "Production")]
    connection.close()
    kept = {path.name for path in s3.path(bucket).rglob("*")}
    assert {"MLmodel", "weights.json", "weights.py"} <= kept
    assert sorted(os.listdir(stack.report["data"])) == [".lock"]
    # Plain MLflow loads it back, elsewhere.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert float(python(LOAD, colleague(stack), elsewhere)) == pytest.approx(ANSWER)
    # Legion serves it.
    (tmp_path / "wine.yaml").write_text('name: wine\nmodel: "models:/wine/Production"\nworkers: {env: local}\n')
    deployed = legion(
        *("deploy", "local", tmp_path / "wine.yaml", "--gateway", stack.report["gateway"]), env=colleague(stack)
    )
    assert deployed.returncode == 0, deployed.stderr + stack.log.read_text()
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed: apt-get install curl")
    url = stack.report["gateway"] + "/models/wine/invocations"
    answer = subprocess.run(
        [curl, "-sS", "-X", "POST", "-H", "Content-Type: application/json", "--data", CURL_BODY, url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(answer.stdout) == {"predictions": [pytest.approx(ANSWER)]}


def test_no_secret_is_on_a_command_line_or_in_a_log(stack: Up, s3: ObjectStore, database: str) -> None:
    password = database.partition("://legion:")[2].partition("@")[0]
    secrets = (password, "not/so:secret", s3.secret)
    commands = [*stack.processes().values(), Path(f"/proc/{stack.process.pid}/cmdline").read_text()]
    assert len(commands) > 5
    for shown in (*commands, stack.log.read_text(), stack.out.read_text()):
        assert not any(secret in shown for secret in secrets)
    assert stack.report["database"].startswith("postgresql://***@127.0.0.1:")
    assert stack.report["artifacts"].startswith("s3://")


def test_it_comes_back_as_it_was(up: Callable[..., Up], s3: ObjectStore, bucket: str, database: str, stack: Up) -> None:
    """After the test above: another process on the same database, bucket and state answers the same."""
    assert stack.end() == 0
    assert stack.nobody_left(1)
    variables = {
        **s3.variables,
        "MLFLOW_BACKEND_STORE_URI": database,
        "LEGION_STATE": stack.environment["LEGION_STATE"],
    }
    again = up("--artifacts-destination", f"s3://{bucket}/team", variables=variables)
    url = again.report["gateway"] + "/models/wine/invocations"
    answer = requests.post(url, data=CURL_BODY, headers={"content-type": "application/json"}, timeout=60)
    assert answer.json() == {"predictions": [pytest.approx(ANSWER)]}


def test_direct_artifacts_never_pass_the_server(
    up: Callable[..., Up], postgres: Callable[[], str], s3: ObjectStore, tmp_path: Path
) -> None:
    bucket = s3.new_bucket()
    stack = up(
        *("--no-serve-artifacts", "--artifacts-destination", f"s3://{bucket}/team"),
        variables={**s3.variables, "MLFLOW_BACKEND_STORE_URI": postgres()},
    )
    assert stack.report["direct"]
    log_with_plain_mlflow({**colleague(stack), **s3.variables}, tmp_path)
    assert any(path.name == "MLmodel" for path in (s3.path(bucket) / "team").rglob("*"))
    listed = requests.get(stack.report["tracking_uri"] + "/api/2.0/mlflow-artifacts/artifacts", timeout=20)
    assert listed.status_code != 200
    # The server takes this bucket's models and no other's.
    with_key = {**colleague(stack), **s3.variables}
    assert float(python(LOAD, with_key, tmp_path)) == pytest.approx(ANSWER)
    create = stack.report["tracking_uri"] + "/api/2.0/mlflow/model-versions/create"
    body = {"name": "wine", "source": "s3://another/model"}
    refused = requests.post(create, json=body, timeout=20)
    assert refused.status_code == 400
    assert "Invalid model version source" in refused.json()["message"]


def test_a_database_that_does_not_answer_is_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    uri = "postgresql://legion:pass-word@127.0.0.1:9/mlflow"
    given = {**environment, "LEGION_STATE": str(tmp_path), "MLFLOW_BACKEND_STORE_URI": uri}
    found = legion("up", "--port", "0", "--gateway-port", "0", env=given)
    assert found.returncode == 3
    assert found.stderr.startswith("legion: the database postgresql+psycopg2://***@127.0.0.1:9/mlflow cannot be used")
    assert found.stderr.count("\n") == 1
    assert "pass-word" not in found.stderr
