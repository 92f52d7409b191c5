"""`legion deploy` on the real command line, against a real gateway."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Server, free_port, legion
from probe_models import BROKEN, times

SLOW = "import time\ntime.sleep(2)\n" + "def init(): return 'matrix'\ndef predict_on_matrix(m, **k): return m\n"
BODY = {"dataframe_split": {"columns": ["a"], "data": [[2.0]]}}


@pytest.fixture(scope="module")
def gateway(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A gateway that takes deployments."""
    return start_server("--admin", "--state", tmp_path_factory.mktemp("state"))


@pytest.fixture
def deploy(gateway: Server, environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """`legion deploy` with these arguments, its exit code as it should be; returns what it did."""
    environment = {**environment, "LEGION_GATEWAY": gateway.url}

    def run(*args: str | Path, code: int = 0, **more: str) -> Any:
        done = legion("deploy", *args, env={**environment, **more}, cwd=tmp_path)
        assert done.returncode == code, (args, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    return run


def declared(folder: Path, name: str, model: Path | str, *more: str) -> Path:
    """A DEPLOYMENT.yaml in `folder`."""
    path = folder / f"{name}.yaml"
    path.write_text("\n".join([f"name: {name}", f'model: "{model}"', "workers: {env: local}", *more, ""]))
    return path


@pytest.mark.slow
def test_a_deployment_from_its_file_to_its_end(
    deploy: Callable[..., Any], gateway: Server, gppi_folder: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = gppi_folder(times(3), name="three"), gppi_folder(times(5), name="five")
    assert deploy("list").stdout == f"nothing is deployed at {gateway.url}\n"
    # Relative to the file, which is not in the folder that the command runs in.
    done = deploy("local", declared(first.parent, "wine", first.name))
    head, row, answers = done.stdout.splitlines()
    assert head.split() == ["NAME", "STATE", "VARIANT", "WEIGHT", "MODEL", "SERVES", "SINCE"]
    assert row.split()[:7] == ["wine", "ready", "champion", "100", str(first), "three", "1.0.0-test"]
    assert answers == f"answers at {gateway.url}/models/wine/invocations"
    assert gateway.post("/models/wine/invocations", BODY).json() == {"predictions": [{"result": 6.0}]}

    done = deploy("local", declared(tmp_path, "wine", second))
    assert gateway.post("/models/wine/invocations", BODY).json() == {"predictions": [{"result": 10.0}]}
    assert "three 1.0.0-test is kept warm for a rollback" in done.stdout
    assert "champion:" in done.stderr
    shown = json.loads(deploy("show", "wine", "--json").stdout)
    assert shown["variants"][0]["serving"]["artifact"] == "five"

    broken = gppi_folder(BROKEN, name="broken")
    done = deploy("local", declared(tmp_path, "wine", broken), code=1)
    assert done.stderr.splitlines()[-1].startswith("legion: wine was not taken and what served before goes on: ")
    assert "the weights are missing" in done.stderr.splitlines()[-1]
    assert gateway.post("/models/wine/invocations", BODY).json() == {"predictions": [{"result": 10.0}]}
    assert "refused at 20" in deploy("show", "wine").stdout

    deploy("local", declared(tmp_path, "wine", second))
    deploy("rollback", "wine")
    assert gateway.post("/models/wine/invocations", BODY).json() == {"predictions": [{"result": 6.0}]}
    assert "pinned by a rollback" in deploy("show", "wine").stdout
    assert [view["name"] for view in json.loads(deploy("list", "--json").stdout)] == ["wine"]
    assert deploy("delete", "wine").stdout == "wine is no longer deployed\n"
    assert gateway.post("/models/wine/invocations", BODY).status_code == 404
    assert "'wine'" in deploy("show", "wine", code=1).stderr


@pytest.mark.slow
def test_a_new_deployment_that_is_refused_says_why(
    deploy: Callable[..., Any], gppi_folder: Callable[..., Path], tmp_path: Path
) -> None:
    broken = gppi_folder(BROKEN, name="broken")
    done = deploy("local", declared(tmp_path, "bad", broken), code=1)
    assert "the weights are missing" in done.stderr.splitlines()[-1]
    # The same file again is tried again, and not reported from memory.
    (broken / "entrypoint.py").write_text("def init(): return 'matrix'\ndef predict_on_matrix(m, **k): return m\n")
    deploy("local", tmp_path / "bad.yaml")
    deploy("delete", "bad")


@pytest.mark.slow
def test_without_waiting_it_returns_while_the_model_starts(
    deploy: Callable[..., Any], gppi_folder: Callable[..., Path], tmp_path: Path
) -> None:
    file = declared(tmp_path, "slow", gppi_folder(SLOW, name="slow"))
    began = time.monotonic()
    view = json.loads(deploy("local", file, "--no-wait", "--json").stdout)
    assert time.monotonic() - began < 2
    assert view["state"] == "starting"
    assert "not ready after 0.3 s" in deploy("local", file, "--timeout", "0.3", code=3).stderr
    deploy("local", file)
    deploy("delete", "slow")


@pytest.mark.slow
def test_every_fault_of_a_file_is_named(deploy: Callable[..., Any], tmp_path: Path) -> None:
    def refused(text: str, code: int = 1) -> str:
        (tmp_path / "d.yaml").write_text(text)
        done = deploy("local", "d.yaml", code=code)
        assert done.stdout == ""
        return str(done.stderr)

    said = refused("name: wine\nmodel: models:/wine/1\nlimits: {queue: many}\nworkers: {replica: 2}\n")
    assert "limits.queue" in said
    assert "replica" in said
    assert "name: is there twice (line 2)" in refused("name: a\nname: b\nmodel: models:/wine/1\n")
    assert "no fields" in refused("- name\n")
    assert "no YAML" in refused("name: [\n")
    assert "no model reference" in refused("name: a\nmodel: 'http://x/y'\n")
    assert "give it one" in refused("name: a/b\nmodel: models:/wine/1\n", code=2)
    assert "cannot be read" in deploy("local", "nowhere.yaml", code=2).stderr


@pytest.mark.slow
def test_the_token_opens_the_gateway_and_is_never_shown(
    deploy: Callable[..., Any], environment: dict[str, str], tmp_path: Path
) -> None:
    # What the environment says goes before what the gateway left on this machine.
    done = deploy("list", code=1, LEGION_ADMIN_TOKEN="not-the-token")
    assert "token" in done.stderr
    assert "not-the-token" not in done.stderr
    assert "LEGION_ADMIN_TOKEN" in deploy("list", code=1, LEGION_STATE=str(tmp_path)).stderr
    token = (Path(environment["HOME"]) / ".local/state/legion/admin-token").read_text().strip()
    deploy("list", LEGION_STATE=str(tmp_path), LEGION_ADMIN_TOKEN=token)


def test_no_gateway_is_an_error_outside(environment: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = legion("deploy", "list", "--gateway", url, env=environment)
    assert done.returncode == 3
    assert done.stderr.startswith(f"legion: no gateway answers at {url} (")
    assert done.stderr.count("\n") == 1
