"""Processes killed under load: workers again and again, a gateway by SIGTERM and by -9, `legion up` by -9."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import callers
import holdings
import msgspec
import probes
from callers import CLOSED, NOT_CONNECTED, Call
from demands import Demand, Section, Table, at_most, none_of, number, seconds
from parts import ALIAS, FOLLOW, Registry, environment, gateway, until
from scale import Scale

from legion.client.client import Client
from real_parts import Up

_EVERY = 2.0  # seconds between killed workers
_DRAIN = 30.0  # seconds that a gateway may take to end
_ORPHANS = 5.0  # seconds after which nothing may be left
# The model writes down what it was asked, so that a request that was computed and not answered shows.
_WRITES = "open({path!r}, 'a').write(''.join('%d\\n' % row[0] for row in input_matrix.tolist()))"


class Term(msgspec.Struct, frozen=True):
    """SIGTERM under load: how many were computed and answered, and what happened to the others."""

    code: int
    took: float
    answered: int
    lost: int
    unread: int
    wrong: int
    left: int


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with tempfile.TemporaryDirectory(prefix="legion-reliability-") as scratch:
        folder = Path(scratch)
        calls, killed, back = _workers(folder, scale)
        term = _sigterm(folder)
        gateway_left = _gateway_killed(folder)
        up_left = _up_killed(folder)
    return _section(calls, killed, back, term, gateway_left=gateway_left, up_left=up_left, scale=scale)


def _workers(folder: Path, scale: Scale) -> tuple[list[Call], int, list[float]]:
    """Kill the only worker every two seconds; what callers saw, how many were killed, seconds until the next one."""
    model = probes.artifact(folder / "killed.zip", 1)
    with gateway("", str(model)) as running, callers.started(running.port, running.folder / "calls") as load:
        end = time.monotonic() + scale.killing
        killed, back = 0, []
        while time.monotonic() < end:
            (worker,) = running.workers()
            os.kill(worker, signal.SIGKILL)
            began = time.monotonic()
            other: Callable[[], bool] = lambda gone=worker: running.workers() not in ([], [gone])  # type: ignore[misc] # noqa: E731
            back.append(until(other, "another worker", 30) - began)
            killed += 1
            time.sleep(max(0.0, _EVERY - (time.monotonic() - began)))
    return load.calls, killed, back


def _sigterm(folder: Path) -> Term:
    """End a gateway while 16 callers ask a model that takes 20 ms."""
    written = folder / "asked"
    predict = f"time.sleep(0.02); {_WRITES.format(path=str(written))}"
    model = probes.artifact(folder / "drained.zip", 1, predict=predict)
    with gateway("", str(model)) as running:
        written.unlink()  # its golden answers
        with callers.started(running.port, running.folder / "calls", count=16, pause=0.001) as load:
            time.sleep(2)
            assert running.process is not None
            process, began = running.process, time.monotonic()
            process.send_signal(signal.SIGTERM)
            code = process.wait(_DRAIN + 10)
            took = time.monotonic() - began
            load.end()
        left = len(holdings.marked(running.mark))
    asked = set(map(int, written.read_text().split()))
    good = {call.value for call in load.calls if not call.failed}
    unread = [call for call in load.calls if call.status == CLOSED and call.value not in asked]
    wrong = [call for call in load.calls if call.failed and call.status not in (CLOSED, NOT_CONNECTED)]
    return Term(code, took, len(good), len(asked - good), len(unread), len(wrong), left)


def _gateway_killed(folder: Path) -> tuple[int, float, list[str]]:
    """Kill a gateway that follows an alias, under load; its processes, how long the last lived on, what is left."""
    place = folder / "registry"
    place.mkdir()
    before = Path.cwd()
    os.chdir(place)  # without a server MLflow puts artifacts beside the working directory
    try:
        registry = Registry(f"sqlite:///{place}/mlflow.db", place)
        registry.version()
        registry.point(1)
    finally:
        os.chdir(before)
    with gateway(registry.uri) as running:
        running.deploy()
        with callers.started(running.port, running.folder / "calls"):
            known = holdings.marked(running.mark)
            assert running.process is not None
            running.process.kill()
            running.process.wait()
            return len(known), *_gone(lambda: holdings.marked(running.mark))


def _up_killed(folder: Path) -> tuple[int, float, list[str]]:
    """The same of `legion up`, with a deployment that follows."""
    place = folder / "up"
    place.mkdir()
    stack = Up(
        place,
        ("--port", "0", "--gateway-port", "0"),
        environment(LEGION_STATE=str(place / "state"), LEGION_CACHE=str(place / "cache")),
    )
    try:
        stack.wait()
        registry = Registry(stack.report["tracking_uri"], place)
        registry.version()
        registry.point(1)
        client = Client(stack.report["gateway"], (place / "state" / "admin-token").read_text().strip())
        client.deploy({"name": probes.NAME, "model": f"models:/{probes.NAME}@{ALIAS}", "follow": FOLLOW})
        client.wait(probes.NAME, 60)
        known = stack.processes()
        stack.process.kill()
        stack.process.wait()
        return len(known), *_gone(stack.processes)
    finally:
        stack.end()
        for pid in stack.processes():
            os.kill(pid, signal.SIGKILL)


def _gone(living: Callable[[], dict[int, str]]) -> tuple[float, list[str]]:
    """How long it took until none was left, and which are left after five seconds."""
    began = time.monotonic()
    while living() and time.monotonic() - began < _ORPHANS:
        time.sleep(0.02)
    return time.monotonic() - began, list(living().values())


def _section(
    calls: list[Call],
    killed: int,
    back: list[float],
    term: Term,
    *,
    gateway_left: tuple[int, float, list[str]],
    up_left: tuple[int, float, list[str]],
    scale: Scale,
) -> Section:
    answered = Demand("SIGTERM under load: exit code", "0", str(term.code), term.code == 0)
    return Section(
        "Processes killed under load",
        (
            none_of(f"a worker killed with -9 every {_EVERY:g} s: failed requests", sum(call.failed for call in calls)),
            Demand(
                "workers that were killed",
                f"≥ {int(scale.killing / _EVERY) - 2}",
                str(killed),
                killed >= int(scale.killing / _EVERY) - 2,
            ),
            answered,
            at_most("SIGTERM under load: time to end", term.took, _DRAIN, "s"),
            none_of("SIGTERM under load: requests that were computed and not answered", term.lost),
            none_of("SIGTERM under load: wrong, partial or refused answers", term.wrong),
            none_of("SIGTERM under load: processes left", term.left),
            Demand(
                "the gateway killed with -9: processes left after 5 s",
                "0",
                f"{len(gateway_left[2])} of {gateway_left[0]}",
                gateway_left[0] >= _FAMILY["gateway"] and not gateway_left[2],
            ),
            Demand(
                "legion up killed with -9: processes left after 5 s",
                "0",
                f"{len(up_left[2])} of {up_left[0]}",
                up_left[0] >= _FAMILY["up"] and not up_left[2],
            ),
        ),
        (
            Table(
                ("", "figure"),
                (
                    ("requests while workers were killed", f"{len(calls):,} in {number(scale.killing)} s by 8 callers"),
                    (
                        "longest answer while workers were killed",
                        f"{max(call.came - call.sent for call in calls):.2f} s",
                    ),
                    ("from a killed worker to the next one", f"{seconds(max(back))} at worst"),
                    ("SIGTERM: requests answered", f"{term.answered:,}"),
                    ("SIGTERM: connections closed on a request that nobody had read", str(term.unread)),
                    ("SIGTERM: time to end", seconds(term.took)),
                    ("gateway -9: until its last process was gone", seconds(gateway_left[1])),
                    ("legion up -9: until its last process was gone", seconds(up_left[1])),
                ),
            ),
        ),
        (
            "A deployment with one worker is asked by eight callers; the worker is killed with -9 every two seconds. "
            "What it had not answered is sent to the next one, what comes meanwhile waits.",
            "For SIGTERM 16 callers ask a model that takes 20 ms and writes down every request that it computes. A "
            "request is lost when it was computed and its caller got no answer. A caller whose request crosses the "
            "end of an idle connection, which HTTP/1.1 cannot rule out, has it closed without a byte and nothing was "
            "computed; such callers are counted. Others find nobody listening.",
            "Orphans are found by a variable in their environment, which every process that stems from the killed "
            "one inherits. The gateway has a provisioner and a worker; `legion up` has MLflow's server with its own "
            "processes, a gateway, a provisioner and a worker.",
        ),
    )


# So many processes there must be at least, or nothing was tested.
_FAMILY: Final = {"gateway": 3, "up": 5}
