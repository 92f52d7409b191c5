"""`legion register` on the real command line, in MLflow's own local default."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import legion
from probe_models import ECHO


@pytest.fixture
def made(tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]) -> Path:
    """A packed artifact."""
    done = legion("pack", gppi_folder(ECHO), "-o", "probe.zip", env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "probe.zip"


@pytest.mark.slow
def test_an_artifact_is_registered_and_packed_again_from_the_registry(
    made: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    first = legion("register", made, "--name", "probe", "--alias", "champion", env=environment, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == [
        "registered probe version 1 @champion",
        "next: legion serve models:/probe@champion",
    ]
    # Nothing of MLflow's own chatter.
    assert first.stderr == ""
    again = legion("register", made, "--name", "probe", "--json", env=environment, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert {"version": "1", "created": False}.items() <= json.loads(again.stdout).items()
    back = legion("pack", "models:/probe@champion", "-o", "back.zip", env=environment, cwd=tmp_path)
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "back.zip").read_bytes() == made.read_bytes()


def test_wrong_usage_is_one_sentence(made: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    for args in (["nowhere.zip", "--name", "a"], [made, "--name", "a/b"], [made, "--name", "a", "--stage", "Prod"]):
        done = legion("register", *args, env=environment, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("legion: ")
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "mlflow.db").exists()
