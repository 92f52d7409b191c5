"""What is held of deployments whose provisioner is killed and flooded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from parts import Gateway

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "reliability"))

import msgspec
import provisioning
from callers import CLOSED, Call
from provisioning import Found

CALL = Call(1.0, 2.0, 200, 1, True, 1)
GOOD = Found(6, 12, [], 1.0, 6, [], 1.0, "ready", True, 100.0, [CALL])


@pytest.mark.parametrize(
    "changes",
    [
        {"missing": ["killed-0-0: starting"]},
        {"flooded_missing": ["after-1: starting"]},
        {"huge": "starting", "told": False},
        {"calls": [CALL, Call(1.0, 2.0, CLOSED, 1, False, None)]},
    ],
    ids=["killed", "flooded", "huge", "calls"],
)
def test_each_demand_is_held(changes: Any) -> None:
    assert provisioning.section(GOOD).met
    assert not provisioning.section(msgspec.structs.replace(GOOD, **changes)).met


class _Gateway(Gateway):
    """An admin API that says the same of a deployment all the time."""

    def __init__(self, state: str, reason: str | None) -> None:
        self.client: Any = self
        self._view = {"state": state, "variants": [{"refused": None if reason is None else {"reason": reason}}]}

    def deployment(self, name: str) -> dict[str, Any]:
        return self._view

    def deployments(self) -> list[dict[str, Any]]:
        return [{"name": "one", **self._view}]


def test_what_is_not_ready_in_time_is_named_with_what_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "_READY", 0.0)
    assert provisioning._until_ready(_Gateway("ready", None), ["one"])[0] == []
    assert provisioning._until_ready(_Gateway("refused", "no such file"), ["one"])[0] == ["one: refused: no such file"]
    assert provisioning._settled(_Gateway("starting", None)) == ("starting", False)
    monkeypatch.setattr(provisioning, "_READY", 5.0)
    assert provisioning._settled(_Gateway("refused", "too large")) == ("refused: too large", True)


def test_the_example_is_as_large_as_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "_EXAMPLE", 1)
    folder = provisioning._with_huge_example(tmp_path / "huge")
    golden = json.loads((folder / "legion.golden.json").read_text())
    assert len(json.dumps(golden["cases"][0]["request"])) > 10**6
