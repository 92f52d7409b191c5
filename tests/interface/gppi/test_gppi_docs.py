"""Every module that docs/gppi.md shows is served, and every command it shows gives the answer it shows."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "gppi.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def examples() -> list[tuple[str, list[tuple[str, Any]]]]:
    """Each module with the commands that follow it and their answers."""
    found: list[tuple[str, list[tuple[str, Any]]]] = []
    for number, (kind, text) in enumerate(BLOCKS):
        if kind == "python":
            found.append((text, []))
        elif kind == "sh":
            following, answer = BLOCKS[number + 1]
            assert following == "json"
            found[-1][1].append((text.strip(), json.loads(answer)))
    return found


@pytest.mark.slow
def test_the_modules_answer_as_shown(start_server: Any, gppi_folder: Any) -> None:
    shown = examples()
    assert len(shown) == 4
    assert sum(len(commands) for _, commands in shown) == 7
    models = [f"m{number}={gppi_folder(source, name=f'm{number}')}" for number, (source, _) in enumerate(shown)]
    server = start_server(*models, "--env=local")
    for number, (_, commands) in enumerate(shown):
        for command, expected in commands:
            words = shlex.split(command.replace("localhost:5000", f"{server.url}/models/m{number}"))
            done = subprocess.run([words[0], "-s", *words[1:]], capture_output=True, text=True, check=True)
            assert json.loads(done.stdout) == expected, command
