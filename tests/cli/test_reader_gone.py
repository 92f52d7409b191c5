"""Commands whose reader has closed their output, as `head` does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command", [("inspect", "{model}"), ("--help",), ("inspect", "--help"), ("--version",)], ids=str
)
@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stdout and stderr"])
def test_they_end_quietly_as_any_program_that_writes_into_a_closed_pipe(
    command: tuple[str, ...], both: bool, gppi_folder: Callable[..., Path], tmp_path: Path
) -> None:
    model = tmp_path / "model.zip"
    run = [sys.executable, "-m", "legion.cli.main"]
    folder = gppi_folder("def init():\n    return 'matrix'\n")
    subprocess.run([*run, "pack", str(folder), "-o", str(model)], check=True, capture_output=True)
    reader, writer = os.pipe()
    os.close(reader)
    arguments = [part.format(model=model) for part in command]
    try:
        done = subprocess.run(
            [*run, *arguments], stdout=writer, stderr=writer if both else subprocess.PIPE, check=False, timeout=60
        )
    finally:
        os.close(writer)
    assert done.returncode == 141
    assert not done.stderr
