"""The plugin by MLflow's own command line and Python interface, against a real gateway and registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests

from conftest import Server, free_port, legion
from probe_models import BROKEN, times

pytestmark = pytest.mark.slow

MLFLOW = Path(sys.executable).parent / "mlflow"


@pytest.fixture(scope="module")
def mlflow_environment(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> dict[str, str]:
    """A registry, a gateway's address and a state folder of their own."""
    folder = tmp_path_factory.mktemp("mlflow")
    return {
        **environment,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "LEGION_STATE": str(folder / "state"),
        "LEGION_GATEWAY": f"http://127.0.0.1:{free_port()}",
    }


@pytest.fixture(scope="module")
def gateway(mlflow_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway that takes deployments and looks at that registry."""
    log = tmp_path_factory.mktemp("log") / "log.txt"
    port = int(mlflow_environment["LEGION_GATEWAY"].rpartition(":")[2])
    command = [sys.executable, "-m", "legion.cli.main", "serve", "--admin", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=mlflow_environment, text=True)
    server = Server(process, log, port)
    yield server.wait()
    assert server.stop() == 0


@pytest.fixture
def deployments(gateway: Server, mlflow_environment: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """`mlflow deployments` with these arguments; its output."""

    def run(*args: str | Path, succeeds: bool = True) -> str:
        command = [str(MLFLOW), "deployments", *map(str, args)]
        done = subprocess.run(
            command, env=mlflow_environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == succeeds, (args, done.stdout, done.stderr)
        return done.stdout if succeeds else done.stderr

    return run


@pytest.fixture
def client(gateway: Server, mlflow_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """`get_deploy_client("legion")`."""
    from mlflow.deployments import get_deploy_client

    monkeypatch.setenv("LEGION_STATE", mlflow_environment["LEGION_STATE"])
    return get_deploy_client(f"legion:{gateway.url}")


def packed(folder: Path, out: Path, env: dict[str, str]) -> Path:
    """The folder as an artifact."""
    done = legion("pack", folder, "-o", out, env=env)
    assert done.returncode == 0, done.stderr
    return out


def test_the_command_line_from_create_to_delete(
    deployments: Callable[..., str],
    gateway: Server,
    gppi_folder: Callable[..., Path],
    mlflow_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    folder = gppi_folder(times(3), name="three")
    artifact = packed(folder, tmp_path / "three.zip", mlflow_environment)
    registered: list[str | Path] = ["register", artifact, "--name", "wine", "--alias", "champion"]
    assert legion(*registered, env=mlflow_environment).returncode == 0

    create = ["create", "-t", "legion", "--name", "wine", "-m", "models:/wine@champion", "-C", "workers.env=local"]
    assert "python_function deployment wine is created" in deployments(*create, "-C", "follow=1s")
    assert "the deployment wine exists already" in deployments(*create, succeeds=False)
    (tmp_path / "rows.json").write_text('[{"a": 2.0}, {"a": 3.0}]')
    answer = deployments("predict", "-t", "legion", "--name", "wine", "-I", "rows.json")
    assert json.loads(answer) == {"predictions": [{"result": 6.0}, {"result": 9.0}]}
    assert "'name': 'wine'" in deployments("list", "-t", f"legion:{gateway.url}")

    other = gppi_folder(times(5), name="five")
    update = ["update", "-t", "legion", "--name", "wine", "-m", os.path.relpath(other, tmp_path)]
    assert "wine is updated" in deployments(*update, "-C", "variant=challenger", "-C", "weight=25")
    got = deployments("get", "-t", "legion", "--name", "wine")
    assert "state: ready" in got
    assert "'weight': 25.0" in got
    assert "'weight': 75.0" in got
    assert "wine is deleted" in deployments("delete", "-t", "legion", "--name", "wine")
    assert requests.get(f"{gateway.url}/models/wine/ping", timeout=10).status_code == 404


def test_the_python_client(client: Any, gppi_folder: Callable[..., Path]) -> None:
    from mlflow.exceptions import MlflowException

    three, five = gppi_folder(times(3), name="three"), gppi_folder(times(5), name="five")
    config = {"workers": {"env": "local"}, "limits.timeout": "30s", "workers.keep_warm": 0}
    made = client.create_deployment("beer", str(three), config=config)
    assert {"name": "beer", "flavor": "python_function", "state": "ready"}.items() <= made.items()
    assert made["declaration"]["limits"]["timeout"] == 30
    assert made["declaration"]["workers"] == {"replicas": 1, "env": "local", "keep_warm": 0}

    frame = pd.DataFrame({"a": [1.0, 2.0]})
    for rows in (frame, [{"a": 1}, {"a": 2}], {"dataframe_records": [{"a": 1}, {"a": 2}]}):
        assert client.predict("beer", rows).get_predictions()["result"].tolist() == [3.0, 6.0]
    assert client.predict(endpoint="beer", inputs=frame)["predictions"] == [{"result": 3.0}, {"result": 6.0}]
    with pytest.raises(MlflowException, match="'a'") as refused:
        client.predict("beer", [{"b": 1}])
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"

    client.update_deployment("beer", str(five))
    assert client.predict("beer", frame)["predictions"][0] == {"result": 5.0}
    with pytest.raises(MlflowException, match="the weights are missing"):
        client.update_deployment("beer", str(gppi_folder(BROKEN, name="broken")))
    assert client.predict("beer", frame)["predictions"][0] == {"result": 5.0}

    assert [one["name"] for one in client.list_deployments()] == ["beer"]
    assert client.get_deployment("beer")["state"] == "refused"
    client.delete_deployment("beer")
    client.delete_deployment("beer")
    with pytest.raises(MlflowException) as missing:
        client.get_deployment("beer")
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException):
        client.update_deployment("beer", str(five))


def test_what_cannot_be_created_leaves_nothing(client: Any, gppi_folder: Callable[..., Path]) -> None:
    from mlflow.exceptions import MlflowException

    broken = gppi_folder(BROKEN, name="broken")
    for model, config, said in (
        (broken, {"workers.env": "local"}, "the weights are missing"),
        (broken, {"workers.replicas": "many"}, "workers.replicas"),
        (broken, {"weight": 50}, "sum to 50"),
        (broken, {"weight": "heavy"}, "cannot be read"),
        (broken, {"colour": "red"}, "unknown config 'colour'"),
        ("http://x/y", {}, "no model reference"),
    ):
        with pytest.raises(MlflowException, match=said):
            client.create_deployment("cider", str(model), config=config)
    with pytest.raises(MlflowException, match="flavor"):
        client.create_deployment("cider", str(broken), flavor="sklearn")
    with pytest.raises(MlflowException, match="endpoint"):
        client.create_deployment("cider", str(broken), endpoint="e")
    assert client.list_deployments() == []


def test_a_third_variant_shares_what_is_left(client: Any, gppi_folder: Callable[..., Path]) -> None:
    from mlflow.exceptions import MlflowException

    folder = str(gppi_folder(times(3), name="three"))
    client.create_deployment("mead", folder, config={"workers.env": "local", "variant": "first"})
    client.update_deployment("mead", folder, config={"variant": "second", "weight": 40})
    third = client.update_deployment("mead", folder, config={"variant": "third", "weight": 50})
    weights = {variant["name"]: variant["weight"] for variant in third["declaration"]["variants"]}
    assert weights == pytest.approx({"first": 30, "second": 20, "third": 50})
    with pytest.raises(MlflowException, match="first, second, third; choose one"):
        client.update_deployment("mead", folder)
    with pytest.raises(MlflowException, match="no variant 'fourth'"):
        client.update_deployment("mead", config={"variant": "fourth", "weight": 1})
    alone = client.update_deployment("mead", config={"variant": "first", "weight": 100})
    assert [variant["weight"] for variant in alone["declaration"]["variants"]] == [100, 0, 0]
    assert client.predict("mead", [{"a": 2.0}])["predictions"] == [{"result": 6.0}]
    client.delete_deployment("mead")


@pytest.mark.parametrize("target", ["legion:/x", "legion:ftp://x"])
def test_a_target_that_is_none_is_refused(target: str) -> None:
    from mlflow.deployments import get_deploy_client
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException):
        get_deploy_client(target)


@pytest.mark.parametrize(
    ("config", "said"), [({"colour": "red"}, "unknown config 'colour' for run-local"), ({"workers": "many"}, "workers")]
)
def test_a_config_that_run_local_cannot_take_is_refused(config: dict[str, str], said: str) -> None:
    from mlflow.exceptions import MlflowException

    from legion.mlflow_deployments import run_local

    with pytest.raises(MlflowException, match=said):
        run_local("wine", "nowhere.zip", config=config)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_run_local_serves_until_the_caller_ends(
    end: signal.Signals, gppi_folder: Callable[..., Path], environment: dict[str, str], tmp_path: Path
) -> None:
    folder, port = gppi_folder(times(3), name="three"), free_port()
    command = [MLFLOW, "deployments", "run-local", "-t", "legion", "--name", "wine", "-m", folder]
    command += ["-C", "env=local", "-C", f"port={port}", "-C", "keep_warm=0"]
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _until(lambda: requests.get(f"{url}/ping", timeout=5).status_code == 200)
        answer = requests.post(f"{url}/models/wine/invocations", json={"dataframe_records": [{"a": 2}]}, timeout=10)
        assert answer.json() == {"predictions": [{"result": 6.0}]}
        process.send_signal(end)
        assert (process.wait(30) == 0) == (end == signal.SIGINT)
        _until(lambda: _is_free(port))
    finally:
        process.kill()
        process.wait()


def _until(holds: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if holds():
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError("not within the time")


def _is_free(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}/ping", timeout=5)
    except requests.ConnectionError:
        return True
    return False
