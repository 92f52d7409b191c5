"""`legion train` on the real command line: the example, from the project to the registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import legion
from legion.artifact.archive import open_artifact
from legion.cli.train import read_assignments
from legion.errors import UsageError

WINE = Path(__file__).parents[2] / "examples" / "wine"
LINEAR = Path(__file__).parents[1] / "toolchain" / "models" / "linear"
LOG_MODELS = f"""
import sys, mlflow
client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    for name in sys.argv[1:]:
        model = client.create_logged_model(run.info.experiment_id, name=name, source_run_id=run.info.run_id)
        client.log_model_artifacts(model.model_id, {str(LINEAR)!r})
        client.finalize_logged_model(model.model_id, "READY")
"""


def project(folder: Path, *models: str) -> Path:
    """A project that logs these models."""
    folder.mkdir()
    (folder / "log_models.py").write_text(LOG_MODELS)
    command = " ".join(["python log_models.py", *models])
    (folder / "MLproject").write_text(f"name: My project\nentry_points:\n  main:\n    command: {command}\n")
    return folder


@pytest.mark.slow
def test_the_example_is_trained_packed_registered_and_validated(tmp_path: Path, environment: dict[str, str]) -> None:
    args = ["-P", "alpha=.1", "-P", "seed=3", "-o", "wine.zip", "--register", "wine", "--alias", "champion"]
    done = legion("train", WINE, *args, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "elasticnet on 3673 wines" in done.stdout
    assert "registered wine version 1 @champion" in done.stdout
    assert done.stdout.splitlines()[-1] == "next: legion serve models:/wine@champion"
    assert "alembic" not in done.stderr
    # Registered by a training as by the command for it: checked, where the environment is there.
    shown = legion("models", "show", "wine", "--json", env=environment, cwd=tmp_path)
    assert json.loads(shown.stdout)["versions"][0]["golden"].startswith("passed ")
    found = open_artifact(tmp_path / "wine.zip")
    assert found.digest in done.stdout
    golden = json.loads(found.read("legion.golden.json"))
    assert golden["deterministic"]
    request = golden["cases"][0]["request"]["dataframe_split"]
    assert len(request["columns"]) == 11
    assert len(request["data"]) >= 3
    assert all(3 < answer < 9 for answer in golden["cases"][0]["response"]["predictions"])
    for least, code in (("0.1", 0), ("0.9", 3)):
        args = ["-e", "validate", "-P", "model_uri=models:/wine@champion", "-P", f"min_r2={least}"]
        done = legion("train", WINE, *args, env=environment, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert ("logged no model" in done.stdout) == (code == 0)


@pytest.mark.slow
def test_the_example_trains_a_forest_on_a_file(tmp_path: Path, environment: dict[str, str]) -> None:
    sys.path.insert(0, str(WINE))
    try:
        from wine_data import draw
    finally:
        sys.path.remove(str(WINE))
    draw(7, 400).to_csv(tmp_path / "wines.csv", sep=";", index=False)
    args = ["-P", "data=wines.csv", "-P", "model=forest", "-P", "trees=5", "--json"]
    done = legion("train", WINE, *args, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "forest on 300 wines" in done.stderr
    said = json.loads(done.stdout)
    assert said["artifact"]["name"] == "wine"
    assert (tmp_path / said["artifact"]["path"]).stat().st_size == said["artifact"]["size"]
    assert [model["name"] for model in said["models"]] == ["model"]


@pytest.mark.slow
def test_several_models_are_listed_and_one_is_picked(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = project(tmp_path / "p", "first", "second")
    done = legion("train", folder, "--env", "local", "-o", "x.zip", env=environment, cwd=tmp_path)
    assert done.returncode == 3
    assert "second, first; choose one with --model NAME" in done.stderr
    assert not (tmp_path / "x.zip").exists()
    args = ["--env", "local", "--model", "first", "--json"]
    done = legion("train", folder, *args, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifact"]["name"] == "My-project"


@pytest.mark.slow
def test_a_project_without_a_model_cannot_be_packed(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = project(tmp_path / "p")
    done = legion("train", folder, "--env", "local", "-o", "x.zip", env=environment, cwd=tmp_path)
    assert done.returncode == 3
    assert "logged no model" in done.stderr


def test_assignments_keep_everything_behind_the_first_equals_sign() -> None:
    assert read_assignments(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("lines", [["alpha"], ["=1"], ["a b=1"], ["$(x)=1"], ["a=1", "a=2"]])
def test_bad_assignments_are_refused(lines: list[str]) -> None:
    with pytest.raises(UsageError, match="-P"):
        read_assignments(lines)


def test_wrong_usage_is_one_sentence_and_starts_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    for args in (["-P", "alpha"], ["--alias", "champion"]):
        done = legion("train", WINE, *args, env=environment, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_leaves_no_process(tmp_path: Path, environment: dict[str, str], number: int) -> None:
    folder, pipe = project(tmp_path / "p"), tmp_path / "pipe"
    os.mkfifo(pipe)
    command = f"exec 3>{pipe}; (sleep 600; true) & echo started >&3; sleep 600; true"
    (folder / "MLproject").write_text(f"entry_points:\n  main:\n    command: {command}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "legion.cli.main", "train", str(folder), "--env", "local"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open() as lines:
        assert lines.readline() == "started\n"
        process.send_signal(number)
        # The end of the file comes when the last process that holds the pipe has ended.
        assert lines.read() == ""
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert printed.splitlines()[-1] == "legion: stopped"
    assert "Traceback" not in printed
