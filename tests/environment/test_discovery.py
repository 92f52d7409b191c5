from __future__ import annotations

import os
import platform
import stat
import sys
from pathlib import Path

import pytest

from legion.environment.discovery import find_python
from legion.errors import EnvironmentBuildError, EnvironmentRefused

RUNNING = platform.python_version()
MINOR = ".".join(platform.python_version_tuple()[:2])


def find(version: str | None, folder: Path) -> tuple[Path, list[str]]:
    said: list[str] = []
    return find_python(version, folder=folder, say=said.append), said


@pytest.mark.parametrize("version", [None, RUNNING, MINOR])
def test_the_running_python_where_it_is_the_one(tmp_path: Path, version: str | None) -> None:
    assert find(version, tmp_path) == (Path(sys.executable), [])


def test_another_patch_version_falls_back_to_the_minor_version_with_a_note(tmp_path: Path) -> None:
    python, said = find(f"{MINOR}.99", tmp_path)
    assert python == Path(sys.executable)
    assert said == [f"Python {MINOR}.99 is not here; the Python {MINOR} at {python} is taken"]


@pytest.mark.parametrize("version", ["3.8", "3.8.18", "2.7", "3.1"])
def test_a_python_that_the_worker_cannot_run_on(tmp_path: Path, version: str) -> None:
    with pytest.raises(EnvironmentRefused, match=r"runs models on 3\.9 and later"):
        find(version, tmp_path)


@pytest.fixture
def no_fetching(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No uv-managed Pythons and none fetched; the folder is the whole PATH."""
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "managed"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_the_newest_python_of_pyenv_whatever_its_shims_do(tmp_path: Path, no_fetching: Path) -> None:
    root = tmp_path / "pyenv"
    executable(no_fetching / "pyenv", f"#!/bin/sh\necho {root}\n")
    for name in ("3.77.9", "3.77.10", "3.7.7", "3.77-dev", "pypy3.77-1", "3.77.11rc1"):
        executable(root / "versions" / name / "bin" / "python", "#!/bin/sh\n")
    python, said = find("3.77", tmp_path)
    assert python == root / "versions" / "3.77.10" / "bin" / "python"
    assert said == []
    assert find("3.77.9", tmp_path)[0] == root / "versions" / "3.77.9" / "bin" / "python"


def test_none_to_be_had_is_one_sentence_with_the_ways_out(tmp_path: Path, no_fetching: Path) -> None:
    said: list[str] = []
    with pytest.raises(EnvironmentBuildError) as error:
        find_python("3.77.2", folder=tmp_path, say=said.append)
    message = str(error.value)
    assert "Python 3.77 is not on this machine" in message
    assert "--env local" in message
    assert "\n" not in message
    assert said[0] == "Python 3.77.2 is not here; uv fetches it"
    assert os.listdir(tmp_path) == ["programs"] or not (tmp_path / "managed" / "3.77").exists()
