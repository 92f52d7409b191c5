"""The process that brings models, killed again and again and flooded: other deployments become ready all the same."""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import callers
import holdings
import memory
import models
import msgspec
import probes
from callers import Call
from demands import Demand, Section, Table, none_of, number, seconds
from parts import Gateway, gateway, until
from scale import Scale

_READY = 60.0  # seconds
_EACH = 2  # deployments that are declared before each kill
_EXAMPLE = 270  # MB
_HUGE = "huge"
_SOURCE = """\
def init():
    return "matrix"


def predict_on_matrix(input_matrix, provided_columns_names=None):
    return input_matrix, ["a"]
"""


class Found(msgspec.Struct, frozen=True):
    """Deployments declared, those that did not become ready, and in how many seconds all were; for the time of kills
    and for the time of the flood. `huge` is what became of the model with the example."""

    kills: int
    declared: int
    missing: list[str]
    ready: float
    flooded: int
    flooded_missing: list[str]
    flooded_ready: float
    huge: str
    told: bool
    peak: float
    calls: list[Call]


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with tempfile.TemporaryDirectory(prefix="legion-reliability-") as scratch:
        folder = Path(scratch)
        model = probes.artifact(folder / "probe.zip", 1)
        huge = _with_huge_example(folder / _HUGE)
        with (
            gateway("", f"{probes.NAME}={model}") as running,
            callers.started(running.port, running.folder / "calls", count=2, pause=0.05) as load,
        ):
            killed = [name for turn in range(scale.provisioner_kills) for name in _kill(running, model, turn)]
            missing, ready = _until_ready(running, killed)
            flooded = [_declared(running, f"before-{turn}", model) for turn in range(_EACH)]
            _declared(running, _HUGE, huge)
            flooded += [_declared(running, f"after-{turn}", model) for turn in range(_EACH)]
            flooded_missing, flooded_ready = _until_ready(running, flooded)
            said, told = _settled(running)
            later = [_declared(running, f"later-{turn}", model) for turn in range(_EACH)]
            later_missing, _ = _until_ready(running, later)
            peak = holdings.peak_mb(running.pid)
    return section(
        Found(
            scale.provisioner_kills,
            len(killed),
            missing,
            ready,
            len(flooded) + len(later),
            flooded_missing + later_missing,
            flooded_ready,
            said,
            told,
            peak,
            load.calls,
        )
    )


def _with_huge_example(folder: Path) -> Path:
    """A model whose first golden request, which is the example on its docs page, is larger than any line should be."""
    models.gppi(folder, _SOURCE)
    request = {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}, "params": {"note": "x" * (_EXAMPLE * 10**6)}}
    case = {"request": request, "response": {"predictions": [{"a": 1.0}]}}
    golden = {"format": 1, "deterministic": True, "cases": [case]}
    (folder / "legion.golden.json").write_text(json.dumps(golden))
    return folder


def _declared(running: Gateway, name: str, model: Path) -> str:
    declaration = {"name": name, "model": str(model), "workers": {"replicas": 1, "env": "local"}}
    running.client.deploy(declaration)
    return name


def _kill(running: Gateway, model: Path, turn: int) -> list[str]:
    """Declare some deployments and kill the process that brings them, at some moment of its work."""
    names = [_declared(running, f"killed-{turn}-{number}", model) for number in range(_EACH)]
    until(lambda: _provisioner(running.pid), "the start of the provisioner", 60)
    time.sleep(random.Random(turn).uniform(0.1, 1.5))
    for pid in _provisioner(running.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return names


def _provisioner(pid: int) -> list[int]:
    found = []
    for member in holdings.kinds(pid)["provisioner"]:
        with suppress(OSError):
            if b"legion.provision" in (memory.PROC / str(member) / "cmdline").read_bytes():
                found.append(member)
    return found


def _until_ready(running: Gateway, names: Sequence[str]) -> tuple[list[str], float]:
    """Wait for these; which are not ready in time, each with what the admin API says of it, and how long it took."""
    began = time.monotonic()
    while True:
        views = {view["name"]: view for view in running.client.deployments()}
        missing = [f"{name}: {_said(views[name])}" for name in names if views[name]["state"] != "ready"]
        took = time.monotonic() - began
        if not missing or took > _READY:
            return missing, took
        time.sleep(0.1)


def _settled(running: Gateway) -> tuple[str, bool]:
    """What became of the model with the example, and whether that is something: served, or refused with a reason."""
    end = time.monotonic() + _READY
    while True:
        view = running.client.deployment(_HUGE)
        settled = view["state"] in ("ready", "refused")
        if settled or time.monotonic() > end:
            return _said(view), settled
        time.sleep(0.1)


def _said(view: dict[str, Any]) -> str:
    (variant,) = view["variants"]
    refused = variant["refused"]
    return view["state"] if refused is None else f"refused: {refused['reason']}"


def section(found: Found) -> Section:
    """Demands and figures."""
    every = found.declared, found.flooded
    kills = f"killed with -9 {found.kills} times while {every[0]} deployments are declared"
    flood = f"{every[1]} deployments declared beside a model with an example of {_EXAMPLE} MB"
    return Section(
        "The provisioner killed and flooded",
        (
            Demand(f"{kills}: not ready within {_READY:g} s", "0", _listed(found.missing), not found.missing),
            Demand(f"{flood}: not ready", "0", _listed(found.flooded_missing), not found.flooded_missing),
            Demand(
                "the model with that example is served, or refused with a reason",
                f"≤ {_READY:g} s",
                found.huge,
                found.told,
            ),
            none_of("failed requests of what was served all the time", sum(call.failed for call in found.calls)),
        ),
        (
            Table(
                ("", "figure"),
                (
                    ("from the last kill until all were ready", seconds(found.ready)),
                    ("beside the example, until all were ready", seconds(found.flooded_ready)),
                    ("the gateway's peak memory", f"{number(found.peak)} MB"),
                    ("requests meanwhile", f"{len(found.calls):,}"),
                ),
            ),
        ),
        (
            "The provisioner is the process that fetches models and makes their environments. It is killed with -9 at "
            "random moments of its work, each time after two more deployments have been declared. Then it is given a "
            "model whose example request is larger than anything that it should hand to the gateway, between four "
            "other deployments; two more are declared afterwards. One deployment is asked all the time.",
        ),
    )


def _listed(missing: Sequence[str]) -> str:
    return "0" if not missing else f"{len(missing)}: {'; '.join(missing)[:300]}"
