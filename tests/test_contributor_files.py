"""What CONTRIBUTING.md, SECURITY.md, the changelog, the workflow and the hooks say is so."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


def hooks() -> list[dict[str, Any]]:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    return list(repository["hooks"])


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_what_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    names = {
        *re.findall(r"\]\(([^):#]+)[)#]", text),
        *re.findall(r"`((?:src|tests|docs|bench|\.ci|\.github)/[^`]*)`", text),
    }
    assert [name for name in names if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"^([\w.$()/]+):", MAKEFILE, re.MULTILINE))
    wanted = set(re.findall(r"(?:^    |`)make ([\w./]+)", text, re.MULTILINE))
    assert wanted <= {*targets, ".venv/.ready"}


def test_the_limits_are_those_of_the_configuration() -> None:
    said = re.search(r"\*\*Size\.\*\* (.*?)\. ", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert said is not None
    lint = SETTINGS["tool"]["ruff"]["lint"]
    held = {"max-complexity": lint["mccabe"]["max-complexity"], **lint["pylint"]}
    order = ("max-complexity", "max-branches", "max-returns", "max-statements", "max-args", "max-positional-args")
    assert [int(number) for number in re.findall(r"\d+", said[1])] == [held[name] for name in order]


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    for heading in headings:
        assert re.fullmatch(r"\d+\.\d+\.\d+ \((unreleased|\d{4}-\d\d-\d\d)\)", heading)
    assert headings[0].split()[0] == SETTINGS["project"]["version"]


def test_the_workflow_runs_what_every_change_has_to_pass() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    [job] = workflow["jobs"].values()
    commands = [shlex.split(step["run"]) for step in job["steps"] if "run" in step]
    assert [words[-1] for words in commands] == [".ci/run"]
    minors = [f"Programming Language :: Python :: {minor}" for minor in job["strategy"]["matrix"]["python"]]
    assert minors == [one for one in SETTINGS["project"]["classifiers"] if re.search(r"Python :: 3\.\d", one)]


def test_the_hooks_are_the_commands_of_make_check() -> None:
    check = MAKEFILE.partition("\ncheck:")[2].partition("\n\n")[0]
    checked = [shlex.split(line)[0].rpartition("/")[2] for line in check.splitlines()[1:]]
    assert [hook["entry"].split()[0].rpartition("/")[2] for hook in hooks()] == checked
    assert all(hook["entry"].startswith(".venv/bin/") and hook["language"] == "system" for hook in hooks())
