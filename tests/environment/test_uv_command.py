from __future__ import annotations

import os
from pathlib import Path

import pytest

from legion.environment.uv_command import UvError, complaint, run_uv, uv_binary

UNSATISFIABLE = """Using Python 3.11.7 environment at: x
error: No solution found when resolving dependencies
  cause: Because there is no version of six==99 and you require six==99, we can conclude that your
requirements are unsatisfiable.

hint: something long
"""
OLDER = """  × No solution found when resolving dependencies:
  ╰─▶ Because there is no version of six==99 and you require six==99, we can
      conclude that your requirements are unsatisfiable.
"""
FAILED_BUILD = """Using Python 3.11.7 environment at: x
error: Failed to build `badpkg==1.0`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta` failed (exit status: 1)

         [stderr]
         Traceback (most recent call last):
           File "<string>", line 3, in <module>
         RuntimeError: needs libfoo

hint: Build failures usually indicate a problem with the package
"""
UNREACHABLE = """error: Request failed after 3 retries in 9.6s
  cause: Failed to fetch: https://user:hunter2@index.invalid/simple/six/
  cause: client error (Connect)
"""


def test_the_essence_of_an_unsatisfiable_set() -> None:
    expected = "Because there is no version of six==99 and you require six==99"
    for text in (UNSATISFIABLE, OLDER):
        essence = complaint(text)
        assert essence.startswith(expected)
        assert essence.endswith("requirements are unsatisfiable")
        assert "hint" not in essence


def test_the_essence_of_a_failed_build_is_its_last_line() -> None:
    essence = complaint(FAILED_BUILD)
    assert essence.startswith("Failed to build `badpkg==1.0`")
    assert essence.endswith("RuntimeError: needs libfoo")
    assert "Traceback" not in essence


def test_credentials_are_never_in_it() -> None:
    essence = complaint(UNREACHABLE)
    assert "hunter2" not in essence
    assert "https://***@index.invalid/simple/six/" in essence


def test_it_is_one_line_of_bounded_length() -> None:
    essence = complaint("error: " + "x" * 5000 + "\n")
    assert len(essence) <= 600
    assert essence.endswith("…")


def test_the_output_of_uv(tmp_path: Path) -> None:
    assert run_uv(["--version"], folder=tmp_path).startswith("uv ")
    assert os.access(uv_binary(), os.X_OK)


def test_a_failure_holds_the_complaint(tmp_path: Path) -> None:
    with pytest.raises(UvError, match="nowhere"):
        run_uv(["pip", "install", "--python", str(tmp_path / "nowhere"), "six"], folder=tmp_path)
