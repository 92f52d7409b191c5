"""Legion against the installed MLflow's own scoring server: the same answer, or both refuse.

Where Legion differs on purpose, differences.py says so, docs/differences.md explains it, and here both are
held to what really happens.
"""

from __future__ import annotations

import json
import math
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from differences import DIFFERENCES, KINDER, OTHER, STRICTER
from scoring_case import Case
from scoring_client import Answer, Client

pytest_plugins = ["scoring_fixtures"]

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs" / "differences.md"
# Served by the real command line, with everything that goes with it: export, golden answers, shortcut, gateway.
SERVED = ("linear", "classes", "mixed", "pair", "tensors", "params")


def direction(reference: Answer, answer: Answer) -> str | None:
    """How the second answer differs from the first; None where it does not."""
    if reference.refused != answer.refused:
        return STRICTER if answer.refused else KINDER
    if reference.refused or same(finite(json.loads(reference.body)), json.loads(answer.body)):
        return None
    return OTHER


def finite(value: Any) -> Any:
    """NaN and infinities as null: MLflow writes what is no JSON there."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def same(one: Any, other: Any) -> bool:
    """Equal in type and value, floats within a relative error of 1e-9."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, (int, float)):
        return not isinstance(other, bool) and math.isclose(one, other, rel_tol=1e-9)
    return type(one) is type(other) and bool(one == other)


def unexplained(reference: dict[str, Answer], answers: dict[str, Answer]) -> list[str]:
    """Each case that differs with no listed reason, with both answers."""
    faults = []
    for name, answer in answers.items():
        how = direction(reference[name], answer)
        if how is not None and not any(one.covers(how, name) for one in DIFFERENCES):
            faults.append(f"{how} {name}\n  MLflow: {reference[name].body[:400]!r}\n  Legion: {answer.body[:400]!r}")
    return faults


def test_same_answer_or_same_refusal(mlflow_answers: dict[str, Answer], legion_answers: dict[str, Answer]) -> None:
    assert legion_answers.keys() == mlflow_answers.keys()
    faults = unexplained(mlflow_answers, legion_answers)
    assert not faults, f"{len(faults)} differ:\n" + "\n".join(faults[:20])


def test_every_listed_difference_is_real(mlflow_answers: dict[str, Answer], legion_answers: dict[str, Answer]) -> None:
    real = {name: direction(mlflow_answers[name], answer) for name, answer in legion_answers.items()}
    idle = [
        f"{difference.name}: {pattern}"
        for difference in DIFFERENCES
        for pattern in difference.cases
        if not any(how == difference.direction and fnmatchcase(name, pattern) for name, how in real.items())
    ]
    assert not idle, "no longer different, so no longer to be listed"


def test_the_document_lists_every_difference() -> None:
    documented = re.findall(r"^\| `([a-z-]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted({difference.name for difference in DIFFERENCES} | {"valid-json"})


def test_every_answer_is_valid_json_where_mlflow_is_not(
    mlflow_answers: dict[str, Answer], legion_answers: dict[str, Answer]
) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def valid(answer: Answer) -> bool:
        try:
            json.loads(answer.body, parse_constant=refuse)
        except ValueError:
            return False
        return True

    assert [name for name, answer in legion_answers.items() if not answer.refused and not valid(answer)] == []
    assert any(not valid(answer) for answer in mlflow_answers.values() if not answer.refused)


def test_no_refusal_holds_a_path_or_a_traceback(
    legion_answers: dict[str, Answer], scoring_models: dict[str, Path]
) -> None:
    folder = str(next(iter(scoring_models.values())).parent)
    places = (folder, str(Path(json.__file__).parent), str(Path(__file__).parents[2]), "site-packages", "Traceback")
    refusals = {name: answer.body.decode() for name, answer in legion_answers.items() if answer.refused}
    assert len(refusals) > 1000
    assert [name for name, text in refusals.items() if any(place in text for place in places)] == []
    assert [name for name, text in refusals.items() if "message" in text and "stack_trace" not in text] == []


def test_the_command_line_serves_the_same(
    start_server: Any, scoring_models: dict[str, Path], cases: list[Case], mlflow_answers: dict[str, Answer]
) -> None:
    server = start_server(*(f"{name}={scoring_models[name]}" for name in SERVED), "--env", "local", wait=False)
    server.wait(180)
    assert "lowered path" in server.log.read_text()
    client = Client("127.0.0.1", server.port)
    answers = {
        case.name: client.post(f"/models/{case.model}/invocations", case) for case in cases if case.model in SERVED
    }
    assert len(answers) > 300
    faults = unexplained({name: mlflow_answers[name] for name in answers}, answers)
    assert not faults, f"{len(faults)} differ:\n" + "\n".join(faults[:20])
