"""`legion up` on this machine alone: ready together, watched, strict, and gone without a trace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from conftest import legion
from probe_models import times
from real_parts import Up

pytestmark = pytest.mark.slow

LOG_AND_REGISTER = """
import mlflow, sys
from mlflow.exceptions import MlflowException

class Doubled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[float]) -> list[float]:
        return [2 * value for value in model_input]

with mlflow.start_run() as run:
    info = mlflow.pyfunc.log_model(name="doubled", python_model=Doubled(), pip_requirements=[])
by_run = mlflow.register_model(f"runs:/{run.info.run_id}/doubled", "doubled")
by_model = mlflow.register_model(info.model_uri, "doubled")
mlflow.genai.register_prompt("greeting", "Hello {{name}}")
client = mlflow.MlflowClient()
client.set_registered_model_alias("doubled", "champion", by_model.version)
print(mlflow.pyfunc.load_model("models:/doubled@champion").predict([21.0]))
for source in sys.argv[1:]:
    try:
        client.create_model_version("doubled", source, run.info.run_id)
        print("registered", source)
    except MlflowException as error:
        print("refused" if "Invalid model version source" in str(error) else error)
"""


@pytest.fixture(scope="module")
def stack(up: Callable[..., Up]) -> Up:
    """One that nobody ends."""
    return up()


def test_both_answer_and_the_token_is_for_this_user_alone(stack: Up) -> None:
    report = stack.report
    assert requests.get(report["tracking_uri"] + "/health", timeout=10).text == "OK"
    assert requests.get(report["gateway"] + "/ping", timeout=10).status_code == 200
    token = Path(report["admin_token_file"])
    assert token.stat().st_mode & 0o777 == 0o600
    authorization = {"authorization": f"Bearer {token.read_text().strip()}"}
    answer = requests.get(report["gateway"] + "/admin/deployments", headers=authorization, timeout=10)
    assert answer.json() == {"deployments": []}
    data = Path(report["data"])
    assert report["database"] == f"sqlite:///{data}/mlflow.db"
    assert (data / "mlflow.db").exists()
    assert data.stat().st_mode & 0o777 == 0o700


def test_log_lines_say_whose_they_are_and_hold_no_colour(stack: Up) -> None:
    lines = stack.log.read_text().splitlines()
    assert any(line.startswith("mlflow  | ") for line in lines)
    assert any(line.startswith("gateway | ready after") for line in lines)
    assert "\x1b" not in stack.log.read_text()


def test_a_foreign_host_and_a_foreign_origin_are_refused(stack: Up) -> None:
    search = stack.report["tracking_uri"] + "/api/2.0/mlflow/experiments/search?max_results=1"
    create = stack.report["tracking_uri"] + "/api/2.0/mlflow/experiments/create"
    assert requests.get(search, timeout=10).status_code == 200
    port = stack.report["tracking_uri"].rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "10.0.0.1", f"192.168.1.7:{port}", "localhost"):
        assert requests.get(search, headers={"host": host}, timeout=10).status_code == 403, host
    for origin in ("https://evil.example", "null", f"http://evil.example:{port}"):
        answer = requests.post(create, json={"name": "e" + origin}, headers={"origin": origin}, timeout=10)
        assert answer.status_code == 403, origin
    own = requests.post(create, json={"name": "own"}, headers={"origin": stack.report["tracking_uri"]}, timeout=10)
    assert own.status_code == 200
    assert own.headers["x-frame-options"] == "DENY"
    deployments = stack.report["gateway"] + "/admin/deployments"
    assert requests.get(deployments, headers={"host": "evil.example"}, timeout=10).status_code == 403


def test_plain_mlflow_registers_its_models_and_nothing_from_elsewhere(stack: Up, tmp_path: Path) -> None:
    elsewhere = ["s3://elsewhere/model", "/etc", "file:///etc", "http://127.0.0.1/model", "mlflow-artifacts:/../../etc"]
    found = subprocess.run(
        [sys.executable, "-c", LOG_AND_REGISTER, *elsewhere],
        env={**stack.environment, "MLFLOW_TRACKING_URI": stack.report["tracking_uri"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-6:] == ["[42.0]", *["refused"] * len(elsewhere)]


def test_legion_registers_there_too(stack: Up, gppi_folder: Callable[..., Path], tmp_path: Path) -> None:
    environment = {**stack.environment, "MLFLOW_TRACKING_URI": stack.report["tracking_uri"]}
    packed = legion("pack", gppi_folder(times(2)), "-o", tmp_path / "two.zip", env=environment)
    assert packed.returncode == 0, packed.stderr
    registered = legion("register", tmp_path / "two.zip", "--name", "two", "--alias", "champion", env=environment)
    assert registered.returncode == 0, registered.stderr


def test_a_second_one_is_told_that_the_folder_is_in_use(stack: Up) -> None:
    second = legion("up", "--port", "0", "--gateway-port", "0", env=stack.environment)
    assert second.returncode == 3
    assert second.stderr.startswith("legion: another legion up keeps its data in")


def test_a_taken_port_is_said_before_anything_is_started(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option, other in (("--port", "--gateway-port"), ("--gateway-port", "--port")):
            found = legion("up", option, port, other, "0", "--data", tmp_path / "data", env=environment)
            assert found.returncode == 3
            assert found.stderr == (
                f"legion: cannot listen on 127.0.0.1:{port} (Address already in use); choose another {option}\n"
            )
    assert not (tmp_path / "data").exists()


def test_a_database_that_may_not_be_used_starts_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("create table orders (a int)")
    connection.close()
    before = (tmp_path / "other.db").read_bytes()
    uri = f"sqlite:///{tmp_path}/other.db"
    found = legion("up", "--port", "0", "--gateway-port", "0", "--backend-store-uri", uri, env=environment)
    assert found.returncode == 1
    assert found.stderr == f"legion: the database {uri} holds tables of another program; name one that is empty\n"
    assert (tmp_path / "other.db").read_bytes() == before


def test_a_server_that_dies_at_the_start_ends_everything(up: Callable[..., Up]) -> None:
    # MLflow's own command line refuses it.
    stack = up(variables={"MLFLOW_WORKERS": "none"}, wait=False)
    assert stack.process.wait(60) == 3
    assert stack.log.read_text().splitlines()[-1].startswith("legion: mlflow ended with exit code")
    assert stack.nobody_left()
    assert not stack.out.read_text()


def test_what_dies_is_started_again_and_sigterm_ends_all(up: Callable[..., Up]) -> None:
    # With MLflow's runner of jobs, which has children in sessions of their own.
    stack = up(variables={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true"})
    stack.until(lambda: any("huey" in command for command in stack.processes().values()))

    def the(what: str) -> int:
        return next(
            pid for pid, command in sorted(stack.processes().items()) if what in command and "keeper" not in command
        )

    gateway, server = the("serve --admin"), the("mlflow server")
    os.kill(gateway, signal.SIGKILL)
    stack.until(lambda: "gateway answers again" in stack.log.read_text())
    assert "gateway was ended by SIGKILL; it is started again in 1 s" in stack.log.read_text()
    assert requests.get(stack.report["gateway"] + "/ping", timeout=10).status_code == 200
    # MLflow's front process: its workers and its runner of jobs must go with it, or the port stays taken.
    old = {pid for pid, command in stack.processes().items() if "serve --admin" not in command}
    os.kill(server, signal.SIGKILL)
    stack.until(lambda: "mlflow answers again" in stack.log.read_text(), 120)
    assert requests.get(stack.report["tracking_uri"] + "/health", timeout=10).status_code == 200
    assert not old & set(stack.processes())
    assert stack.end() == 0
    assert stack.nobody_left(1)
    assert "stopping mlflow and gateway" in stack.log.read_text()


def test_killed_with_9_it_leaves_nobody(up: Callable[..., Up]) -> None:
    stack = up(variables={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true"})
    stack.until(lambda: any("huey" in command for command in stack.processes().values()))
    assert len(stack.processes()) > 6
    stack.end(signal.SIGKILL)
    assert stack.nobody_left(10)


def test_stopped_while_it_starts_it_leaves_nobody(up: Callable[..., Up]) -> None:
    stack = up(wait=False)
    stack.until(lambda: any("mlflow server" in command for command in stack.processes().values()))
    began = time.monotonic()
    assert stack.end(signal.SIGINT) == 0
    assert time.monotonic() - began < 32
    assert stack.nobody_left(1)
