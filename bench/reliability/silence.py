"""Connections that never finish a request, on a gateway that may open few files: predictions go on."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import callers
import holdings
import msgspec
import probes
import tricklers
from callers import Call
from demands import Demand, Section, Table, at_most, none_of, number, seconds
from parts import Gateway, gateway
from scale import Scale

_FILES = 1024
_CLIENTS = 1000
_BACK = 10.0  # seconds until a killed worker must have a successor that answers
_LONGEST = 2.0  # seconds that a prediction may take meanwhile


class Found(msgspec.Struct, frozen=True):
    """What callers saw who kept their connections and who opened new ones; seconds from the kill of the worker to the
    next one, None where there was none; connections that were held, and the most files the gateway had open."""

    kept: list[Call]
    fresh: list[Call]
    back: float | None
    held: float
    files: int


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with tempfile.TemporaryDirectory(prefix="legion-reliability-") as scratch:
        model = probes.artifact(Path(scratch) / "probe.zip", 1)
        with (
            gateway("", str(model), files=_FILES) as running,
            callers.started(running.port, running.folder / "kept", count=4) as kept,
            callers.started(running.port, running.folder / "fresh", count=4, keep=False) as fresh,
            tricklers.started(running.port, _CLIENTS) as trickle,
        ):
            time.sleep(scale.silent)
            files = len(os.listdir(f"/proc/{running.pid}/fd"))  # noqa: PTH208 (names only)
            back = _killed(running)
            time.sleep(scale.silent / 2)
    return section(Found(kept.calls, fresh.calls, back, trickle.held, files), scale)


def _killed(running: Gateway) -> float | None:
    """Kill the worker; seconds until there is another."""
    (worker,) = _workers(running)
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    while time.monotonic() - began < _BACK:
        if any(pid != worker for pid in _workers(running)):
            return time.monotonic() - began
        time.sleep(0.01)
    return None


def _workers(running: Gateway) -> list[int]:
    """From the kernel's tables: the admin API may be as out of reach as everything else."""
    return holdings.kinds(running.pid)["workers"]


def section(found: Found, scale: Scale) -> Section:
    """Demands and figures."""
    calls = [*found.kept, *found.fresh]
    longest = max(call.came - call.sent for call in calls)
    return Section(
        "Silent connections and few files",
        (
            none_of("failed requests on connections that were open", sum(call.failed for call in found.kept)),
            none_of("failed requests on new connections", sum(call.failed for call in found.fresh)),
            at_most("longest answer", longest, _LONGEST, "s"),
            Demand(
                "a killed worker has a successor",
                f"≤ {_BACK:g} s",
                "never" if found.back is None else seconds(found.back),
                found.back is not None,
            ),
        ),
        (
            Table(
                ("", "figure"),
                (
                    ("requests on connections that were open", f"{len(found.kept):,}"),
                    ("requests on new connections", f"{len(found.fresh):,}"),
                    ("unfinished requests held at a time", number(found.held)),
                    ("files the gateway had open", f"{found.files} of {_FILES}"),
                ),
            ),
        ),
        (
            f"The gateway is started under `ulimit -n {_FILES}`. {_CLIENTS:,} clients each send the head of a request "
            "at one byte per second and connect again whenever they are disconnected. Four callers keep their "
            "connections, four others open one for each request. After "
            f"{number(scale.silent)} s the worker is killed with -9.",
        ),
    )
