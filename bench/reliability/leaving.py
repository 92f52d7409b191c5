"""Clients that leave: a request whose client has gone before the model began with it is never executed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import arrivals
import callers
import msgspec
import probes
from arrivals import LEFT, Arrival
from callers import Call
from demands import Demand, Section, Table, at_most, none_of, number
from parts import gateway
from scale import Scale

_CALL = 0.2  # seconds, of the model
_STAY = 0.05  # seconds until a client leaves
_RATE = 500  # clients per second
# Seconds that the end of a connection may take to reach the gateway, which answers others at the same time.
_NOTICED = 0.1
_LEFT = 90.0  # percent of the clients that must have left while they waited, or nothing was tested
# Seconds. The model may be busy with one call, then with those who came before and have not left yet.
_PATIENT = 1.0


class Run(msgspec.Struct, frozen=True):
    """What one model saw and when it began with it, the clients that left, and one that stayed."""

    name: str
    executed: list[tuple[int, float]]
    clients: list[Arrival]
    patient: list[Call]


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with tempfile.TemporaryDirectory(prefix="legion-reliability-") as scratch:
        folder = Path(scratch)
        return section([_run(folder, "merged", True, scale), _run(folder, "not merged", False, scale)])


def _run(folder: Path, name: str, merges: bool, scale: Scale) -> Run:
    written = folder / "executed"
    lines = "''.join('%d %f\\n' % (row[0], time.monotonic()) for row in input_matrix.tolist())"
    predict = f"open({str(written)!r}, 'a').write({lines}); time.sleep({_CALL})"
    model = probes.artifact(folder / "left.zip", 1, predict=predict, merges=merges)
    with gateway("", str(model)) as running:
        written.unlink()  # what it was asked when it started
        with callers.started(running.port, running.folder / "calls", count=1) as load:
            clients = arrivals.run(
                running.port,
                running.folder / "arrivals",
                rate=_RATE,
                seconds=scale.leavers / _RATE,
                deadline=10.0,
                leave=_STAY,
            )
    executed = [(int(value), float(began)) for value, began in map(str.split, written.read_text().splitlines())]
    return Run(name, executed, clients, load.calls)


def executed_after(executed: Sequence[tuple[int, float]], clients: Sequence[Arrival]) -> list[int]:
    """The values that the model began with after their client had left."""
    left = {client.value: client.came for client in clients if client.status == LEFT}
    return [value for value, began in executed if value in left and began > left[value] + _NOTICED]


def section(runs: Sequence[Run]) -> Section:
    """Demands and figures for each model."""
    demands, rows = [], []
    for run in runs:
        left = sum(client.status == LEFT for client in run.clients)
        share = 100 * left / len(run.clients)
        longest = max(call.came - call.sent for call in run.patient)
        demands += [
            Demand(
                f"{run.name}: clients that left while they waited",
                f"≥ {_LEFT:g} %",
                f"{share:.1f} %",
                share >= _LEFT,
            ),
            none_of(
                f"{run.name}: requests executed though their client had left before",
                len(executed_after(run.executed, run.clients)),
            ),
            none_of(f"{run.name}: failed requests of a client that stays", sum(call.failed for call in run.patient)),
            at_most(f"{run.name}: longest answer to a client that stays", longest, _PATIENT, "s"),
        ]
        rows.append((run.name, f"{len(run.clients):,}", f"{left:,}", f"{len(run.executed):,}", f"{len(run.patient)}"))
    return Section(
        "Clients that leave",
        tuple(demands),
        (Table(("model", "clients", "left", "requests executed", "answers to who stays"), tuple(rows)),),
        (
            f"{_RATE:,} clients per second ask a model that takes {number(_CALL)} s per call, and leave after "
            f"{1e3 * _STAY:.0f} ms: half of them close the connection, half reset it. The model writes down what it is "
            "asked and when it begins. A request counts as executed after its client had left when the model began "
            f"with it more than {1e3 * _NOTICED:.0f} ms later, which is what the news of the end may take. One client "
            "stays, and asks again when it is answered.",
        ),
    )
