from __future__ import annotations

import sys
from pathlib import Path

import pytest

from legion.environment.interpreter import MODES, interpreter
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv import environment_folder
from legion.errors import UsageError

FITS = EnvironmentSpec(requirements=("msgspec",))
DIFFERS = EnvironmentSpec(requirements=("msgspec", "six==1.15.0", "no-such-package ; python_version < '3'"))


def get(spec: EnvironmentSpec, mode: str, cache: Path) -> tuple[Path, list[str]]:
    said: list[str] = []
    return interpreter(spec, mode, cache=cache, say=said.append), said


def test_auto_is_the_running_python_where_it_fits(tmp_path: Path) -> None:
    python, said = get(FITS, "auto", tmp_path)
    assert python == Path(sys.executable)
    assert len(said) == 1
    assert "has what the model wants" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_auto_says_so_where_the_model_names_no_environment(tmp_path: Path) -> None:
    python, said = get(EnvironmentSpec(), "auto", tmp_path)
    assert python == Path(sys.executable)
    assert "the model names no environment" in said[0]


@pytest.mark.slow
def test_auto_is_uv_where_the_running_python_does_not_fit_and_says_why(tmp_path: Path) -> None:
    python, said = get(DIFFERS, "auto", tmp_path)
    assert python == environment_folder(DIFFERS, tmp_path) / "bin" / "python"
    assert "does not fit, so uv provides an environment: six==1.15.0 is wanted" in said[0]
    assert get(DIFFERS, "uv", tmp_path)[0] == python


def test_local_runs_anyway_and_names_each_mismatch(tmp_path: Path) -> None:
    spec = EnvironmentSpec(python="3.9", requirements=("no-such-package", "numpy<1", "msgspec"))
    python, said = get(spec, "local", tmp_path)
    assert python == Path(sys.executable)
    assert len(said) == 3
    assert all("the model runs anyway because of --env local" in line for line in said)
    assert get(FITS, "local", tmp_path)[1] == []


@pytest.mark.parametrize("mode", ["auto", "local"])
def test_what_was_taken_from_elsewhere_is_said(tmp_path: Path, mode: str) -> None:
    spec = EnvironmentSpec(requirements=("msgspec",), notes=("numpy=1 is taken from the Python index",))
    assert get(spec, mode, tmp_path)[1][0] == "numpy=1 is taken from the Python index"


@pytest.mark.parametrize("mode", ["venv", ""])
def test_other_modes_are_refused_with_those_that_there_are(tmp_path: Path, mode: str) -> None:
    with pytest.raises(UsageError, match="is no way") as error:
        get(FITS, mode, tmp_path)
    assert all(known in str(error.value) for known in MODES)
