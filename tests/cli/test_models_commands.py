"""`legion models` and the golden check of `legion register`, on the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Server, free_port, legion
from legion.client import Client
from probe_models import times

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-tests"


def case(value: float, answer: float) -> dict[str, Any]:
    """A golden case of one row."""
    request = {"dataframe_split": {"columns": ["a"], "data": [[value]]}}
    return {"request": request, "response": {"predictions": [{"result": answer}]}}


@pytest.fixture
def here(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a user with a registry of their own and no gateway."""
    return {
        **environment,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "LEGION_GATEWAY": f"http://127.0.0.1:{free_port()}",
        "LEGION_ADMIN_TOKEN": TOKEN,
        "LEGION_STATE": str(tmp_path / "state"),
    }


@pytest.fixture
def probe(tmp_path: Path, here: dict[str, str], gppi_folder: Callable[..., Path]) -> Callable[..., Path]:
    """Pack a model that multiplies by `factor`; its golden answers say `golden`."""

    def make(factor: int, *, golden: int | None = None) -> Path:
        cases = None if golden is None else [case(1.0, golden), case(2.0, 2.0 * golden)]
        folder = gppi_folder(times(factor), golden=cases)
        out = tmp_path / f"probe-{factor}-{golden}.zip"
        done = legion("pack", folder, "-o", out, "--version", f"{factor}.0.0-a", env=here, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return out

    return make


@pytest.fixture
def run(tmp_path: Path, here: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in the test's own folder."""

    def call(*args: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = legion(*args, env=here, cwd=tmp_path)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        if code:
            assert done.stderr.splitlines()[-1].startswith(("legion: ", "Error: "))
            assert "Traceback" not in done.stderr
        return done

    return call


def check_what_is_shown(run: Callable[..., subprocess.CompletedProcess[str]], digests: list[str]) -> None:
    """Check `legion models show`, as JSON and as a table, of the three versions that the test below made."""
    shown = json.loads(run("models", "show", "probe", "--json").stdout)
    assert [one["version"] for one in shown["versions"]] == ["3", "2", "1"]
    assert [one["digest"] for one in shown["versions"]] == digests
    assert [one["golden"] for one in shown["versions"]] == ["none", "passed 2", "passed 2"]
    assert shown["previous"] == {"champion": "1"}
    assert "it must" in shown["forced"]["3"]
    assert shown["versions"][0]["served_by"] is None
    assert shown["gateway"]["unreachable"]
    table = run("models", "show", "probe").stdout
    assert "@champion" in table
    assert "unknown" in table
    assert "serving status unknown: " in table


def test_the_whole_life_of_a_model(
    probe: Callable[..., Path], run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    first = json.loads(run("register", probe(2, golden=2), "--name", "probe", "--alias", "champion", "--json").stdout)
    assert (first["version"], first["golden"]) == ("1", "passed 2")
    second = json.loads(run("register", probe(3, golden=3), "--name", "probe", "--json").stdout)
    assert second["golden"] == "passed 2"
    # Nobody checked this one, and nobody can.
    unchecked = json.loads(run("register", probe(4), "--name", "probe", "--json").stdout)
    assert unchecked["golden"] == "none"

    promoted = run("models", "promote", "probe", "2")
    assert promoted.stdout.splitlines() == [
        "probe@champion points to version 2 (before: version 1)",
        "next: legion serve models:/probe@champion",
    ]
    refused = run("models", "promote", "probe", "3", code=1)
    assert "no golden answers" in refused.stderr
    assert json.loads(run("models", "list", "--json").stdout) == [
        {"name": "probe", "latest": "3", "aliases": {"champion": "2"}, "stages": {}}
    ]

    run("models", "promote", "probe", "3", "--force", code=2)
    run("models", "promote", "probe", "3", "--reason", "because", code=2)
    forced = run("models", "promote", "probe", "3", "--stage", "Production", "--force", "--reason", "it must")
    assert forced.stdout.splitlines()[0] == "probe version 3 is in Production"
    assert ": it must" in forced.stdout

    back = run("models", "rollback", "probe")
    assert back.stdout.splitlines()[0] == "probe@champion points to version 1 (before: version 2)"
    assert json.loads(run("models", "rollback", "probe", "--json").stdout)["version"]["version"] == "2"
    assert "--to VERSION" in run("models", "rollback", "probe", "--alias", "other", code=1).stderr

    check_what_is_shown(run, [unchecked["digest"], second["digest"], first["digest"]])
    pulled = json.loads(run("models", "pull", "models:/probe@champion", "-o", tmp_path / "back.zip", "--json").stdout)
    assert pulled["digest"] == second["digest"]
    assert (tmp_path / "back.zip").read_bytes() == (tmp_path / "probe-3-3.zip").read_bytes()
    assert "path" in run("models", "pull", tmp_path / "back.zip", code=2).stderr

    assert "--yes" in run("models", "delete", "probe/1", code=2).stderr
    assert "the alias champion points to probe version 2" in run("models", "delete", "probe/2", "--yes", code=1).stderr
    assert run("models", "delete", "probe/1", "--yes").stdout == "deleted probe version 1\n"
    assert run("models", "delete", "probe", "--yes", "--force").stdout == "deleted probe with 2 versions\n"
    assert "no models are registered" in run("models", "list").stdout


def test_an_artifact_that_does_not_give_its_golden_answers_is_not_registered(
    probe: Callable[..., Path], run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    wrong = probe(2, golden=5)
    refused = run("register", wrong, "--name", "probe", "--alias", "champion", code=1)
    assert "not registered: " in refused.stderr
    # Registered unchecked it is checked before it is promoted, and what that gave is kept.
    unchecked = json.loads(run("register", wrong, "--name", "probe", "--no-check", "--json").stdout)
    assert (unchecked["version"], unchecked["created"], unchecked["golden"]) == ("1", True, None)
    for _ in range(2):
        assert "golden" in run("models", "promote", "probe", "1", code=1).stderr
        (version,) = json.loads(run("models", "show", "probe", "--json").stdout)["versions"]
        assert version["golden"].startswith("failed: ")
        assert version["aliases"] == []
    run("models", "promote", "probe", "1", "--force", "--reason", "to see it fail")


def test_a_model_whose_environment_is_not_here_is_registered_unchecked(
    tmp_path: Path,
    here: dict[str, str],
    gppi_folder: Callable[..., Path],
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    folder = gppi_folder(times(2), golden=[case(1.0, 2.0)])
    (folder / "conda.yaml").write_text("dependencies:\n- python=3.9\n- pip:\n  - numpy==1.26.0\n")
    run("pack", folder, "-o", tmp_path / "older.zip")
    done = run("register", tmp_path / "older.zip", "--name", "older")
    assert "not checked" in done.stderr
    (version,) = json.loads(run("models", "show", "older", "--json").stdout)["versions"]
    assert version["golden"] is None
    assert version["environment"]


def test_a_version_that_plain_mlflow_registered_is_packed_checked_and_promoted(
    tmp_path: Path, here: dict[str, str], run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    program = """
import mlflow, pandas
from sklearn.linear_model import LinearRegression
frame = pandas.DataFrame({"a": [1.0, 2.0, 4.0], "b": [0.0, 1.0, 5.0]})
mlflow.set_experiment("plain")
with mlflow.start_run():
    mlflow.sklearn.log_model(
        LinearRegression().fit(frame, [1.0, 2.0, 3.0]), name="m", registered_model_name="plain", input_example=frame
    )
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=here, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    promoted = json.loads(
        run("models", "promote", "plain", "1", "--stage", "Production", "--env", "local", "--json").stdout
    )
    assert promoted["version"]["stage"] == "Production"
    assert promoted["version"]["golden"].startswith("passed ")
    assert promoted["version"]["digest"] is None


@pytest.fixture
def gateway(tmp_path: Path, here: dict[str, str]) -> Iterator[Server]:
    """A gateway with an admin API that sees the test's registry."""
    port = int(here["LEGION_GATEWAY"].rsplit(":", 1)[1])
    log = tmp_path / "gateway.txt"
    command = [sys.executable, "-m", "legion.cli.main", "serve", "--admin", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=here, text=True, cwd=tmp_path)
    server = Server(process, log, port)
    yield server.wait()
    server.stop()


def test_who_serves_a_version_is_asked_of_the_gateway(
    probe: Callable[..., Path], run: Callable[..., subprocess.CompletedProcess[str]], gateway: Server
) -> None:
    for factor in (2, 3):
        run("register", probe(factor, golden=factor), "--name", "probe")
    run("models", "promote", "probe", "1")
    with Client(gateway.url, TOKEN) as client:
        client.deploy({"name": "answers", "model": "models:/probe@champion"})
        client.wait("answers", 120)
    shown = json.loads(run("models", "show", "probe", "--json").stdout)
    assert shown["gateway"] == {"url": gateway.url, "unreachable": None}
    assert [one["served_by"] for one in shown["versions"]] == [[], ["answers"]]
    row = run("models", "show", "probe").stdout.splitlines()[2].split()
    assert row[0] == "1"
    assert row[-1] == "answers"
    # Another gateway than the one of the environment.
    other = json.loads(run("models", "show", "probe", "--json", "--gateway", "http://127.0.0.1:9").stdout)
    assert other["versions"][0]["served_by"] is None


def test_the_help_is_there_and_quick() -> None:
    done = legion("models", "--help", env=dict(os.environ))
    assert done.returncode == 0
    for command in ("list", "show", "promote", "rollback", "pull", "delete"):
        assert command in done.stdout
