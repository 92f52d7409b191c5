"""`run_project` and its process: environment, parameters, versions, failures, interrupts."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from legion.toolchain.job import Job, TrainedRun

pytestmark = pytest.mark.slow

PROGRAM = """
import sys, msgspec
from legion.errors import LegionError
from legion.toolchain.job import Job
from legion.toolchain.project import run_project
try:
    print("RUN", msgspec.json.encode(run_project(msgspec.json.decode(sys.argv[1], type=Job))).decode())
except LegionError as error:
    print(type(error).__name__, error)
"""


def project(folder: Path, command: str, parameters: str = "{}", more: str = "") -> Path:
    """A project whose entry point is one shell command."""
    folder.mkdir(exist_ok=True)
    (folder / "MLproject").write_text(
        f"name: probe\n{more}\nentry_points:\n  main:\n    parameters: {parameters}\n    command: |\n      {command}\n"
    )
    return folder


def start(folder: Path, variables: dict[str, str], cwd: Path, **fields: object) -> subprocess.Popen[str]:
    job = Job(
        source=str(fields.pop("source", folder)),
        entry_point=str(fields.pop("entry_point", "main")),
        parameters=fields.pop("parameters", {}),  # type: ignore[arg-type]
        env=str(fields.pop("env", "local")),
        cache=str(cwd / "cache"),
        into=str(cwd / "model"),
        **fields,  # type: ignore[arg-type]
    )
    command = [sys.executable, "-c", PROGRAM, msgspec.json.encode(job).decode()]
    return subprocess.Popen(command, cwd=cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: Path, variables: dict[str, str], cwd: Path, **fields: object) -> tuple[str, str, str]:
    """What the process ended with, as (kind, rest of the line, everything the project printed)."""
    process = start(folder, variables, cwd, **fields)
    out, err = process.communicate(timeout=120)
    *printed, last = out.splitlines()
    kind, _, rest = last.partition(" ")
    return kind, rest, "\n".join([*printed, err])


def runs(cwd: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(cwd / "mlflow.db") as database:
        return database.execute("select run_uuid, status from runs").fetchall()


def test_a_run_is_recorded_in_mlflows_own_store_and_streams_its_output(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = project(tmp_path / "p", "echo to-out {x}; echo to-err >&2; echo run=$MLFLOW_RUN_ID", "{x: {default: a b}}")
    kind, rest, printed = run(folder, environment, tmp_path, experiment="mine")
    assert kind == "RUN", rest
    done = msgspec.json.decode(rest, type=TrainedRun)
    assert runs(tmp_path) == [(done.run_id, "FINISHED")]
    assert done.project == "probe"
    assert (done.models, done.model, done.folder) == ((), None, None)
    assert {"to-out a b", "to-err", f"run={done.run_id}"} <= set(printed.splitlines())
    assert "alembic" not in printed
    assert "INFO" not in printed


def test_local_runs_the_interpreter_of_legion(tmp_path: Path, environment: dict[str, str]) -> None:
    command = "python -c 'import sys; print(\"ran\", sys.prefix)'"
    kind, _, printed = run(project(tmp_path / "p", command), {**environment, "PATH": "/usr/bin:/bin"}, tmp_path)
    assert kind == "RUN"
    assert f"ran {sys.prefix}" in printed


def test_a_value_is_never_run_by_the_shell(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = project(tmp_path / "p", 'printf "%s\\n" {x}', "{x: string}")
    evil = "$(touch x)`touch x`;touch x;'\"&& touch x"
    kind, rest, printed = run(folder, environment, tmp_path, parameters={"x": evil})
    assert kind == "RUN", rest
    assert evil in printed.splitlines()
    assert not list(tmp_path.rglob("x"))


def test_relative_paths_are_the_callers(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "here.csv").write_text("found it\n")
    kind, rest, printed = run(
        project(tmp_path / "p", "cat {data}", "{data: path}"), environment, tmp_path, parameters={"data": "here.csv"}
    )
    assert kind == "RUN", rest
    assert "found it" in printed


@pytest.mark.parametrize(
    ("fields", "kind", "named"),
    [
        ({"parameters": {"alpha": "much"}}, "UsageError", "alpha"),
        ({"parameters": {"beta": "1"}}, "UsageError", "beta"),
        ({"entry_point": "other"}, "UsageError", "other"),
        ({"source": "no/such/folder"}, "UsageError", "no/such/folder"),
        ({"env": "docker"}, "UsageError", "docker"),
    ],
)
def test_wrong_usage_starts_no_run(
    tmp_path: Path, environment: dict[str, str], fields: dict[str, object], kind: str, named: str
) -> None:
    folder = project(tmp_path / "p", "touch {alpha}", "{alpha: {type: float, default: 1}}")
    found, message, printed = run(folder, environment, tmp_path, **fields)
    assert found == kind
    assert named in message
    assert "Traceback" not in printed
    assert not (folder / "1").exists()


@pytest.mark.parametrize("text", ["entry_points: 3\n", "entry_points:\n  main: [", "- a\n", "entry_points:\n  main:\n"])
def test_a_damaged_mlproject_is_one_sentence(tmp_path: Path, environment: dict[str, str], text: str) -> None:
    folder = project(tmp_path / "p", "true")
    (folder / "MLproject").write_text(text)
    kind, message, printed = run(folder, environment, tmp_path)
    assert kind == "UsageError"
    assert "MLproject" in message
    assert "Traceback" not in printed


def test_a_run_that_fails_says_so(tmp_path: Path, environment: dict[str, str]) -> None:
    kind, message, printed = run(project(tmp_path / "p", "echo because >&2; exit 7"), environment, tmp_path)
    assert kind == "TrainingError"
    ((run_id, status),) = runs(tmp_path)
    assert status == "FAILED"
    assert run_id in message
    assert "because" in printed
    assert "Traceback" not in printed


def test_a_version_of_a_repository_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = project(tmp_path / "p", "echo first")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for step in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"], ["tag", "v1"]):
        subprocess.run(["git", "-C", folder, *step], check=True)
    project(folder, "echo second")
    kind, rest, printed = run(folder, environment, tmp_path, version="v1")
    assert kind == "RUN", rest
    assert "first" in printed
    assert "second" not in printed


def waiting_project(tmp_path: Path) -> tuple[Path, Path]:
    """A project that writes its process ids to a pipe, which it and what it starts hold open, and waits."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    return project(tmp_path / "p", f"exec 3>{pipe}; (sleep 600; true) & echo started >&3; sleep 600; true"), pipe


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_one_who_asked(tmp_path: Path, environment: dict[str, str], number: int) -> None:
    folder, pipe = waiting_project(tmp_path)
    process = start(folder, environment, tmp_path)
    with pipe.open() as lines:
        assert lines.readline() == "started\n"
        process.send_signal(number)
        # The end of the file comes when the last process that holds the pipe has ended.
        assert lines.read() == ""
    assert "sqlalchemy" not in process.communicate(timeout=60)[1]
    if number == signal.SIGINT:
        assert [status for _, status in runs(tmp_path)] == ["FAILED"]
