"""Overload: what can be answered in time is answered, the rest is refused at once."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import arrivals
import callers
import msgspec
import probes
from arrivals import Arrival
from callers import Call
from demands import Demand, Failed, Section, Table, at_least, at_most, none_of, number
from parts import gateway
from scale import Scale

_SHARE = 90.0  # percent of the capacity that must be answered within the deadline
_REFUSED = 50.0  # milliseconds, 99th percentile at _HELD_AT times the capacity
_HELD_AT = 5
# The gateway's largest batch. In overload there is always one to be had.
_BATCH = 256
# What the load generator may be late itself before its figures mean nothing, seconds at the 99th percentile.
_LAG = 0.025
_CALL = 0.5  # seconds, of the model whose callers wait


class Model(msgspec.Struct, frozen=True):
    """A model that sleeps so many seconds per call and per row of it, so that its capacity is known."""

    name: str
    call: float
    row: float
    merges: bool

    @property
    def capacity(self) -> float:
        """Requests per second, each of one row, when it is never idle."""
        rows = _BATCH if self.merges else 1
        return rows / (self.call + rows * self.row)

    @property
    def predict(self) -> str:
        """The statement that takes this time."""
        return f"time.sleep({self.call} + {self.row} * len(input_matrix))"


# Slow enough that the load generator and the gateway take a small part of the machine, and that what a call costs
# besides the model is a small part of its time.
MODELS: Final = (
    Model("quick, merged", 0.002, 0.004, merges=True),
    Model("quick, not merged", 0.01, 0.0, merges=False),
    Model("slow, merged", 0.3, 0.003, merges=True),
    Model("slow, not merged", 0.3, 0.0, merges=False),
)


class Run(msgspec.Struct, frozen=True):
    """One model under so many times its capacity, and how many of its workers were replaced."""

    model: Model
    times: int
    arrivals: list[Arrival]
    restarts: int


class Waiting(msgspec.Struct, frozen=True):
    """What callers who wait for their answers saw: answers in time, how many were possible, workers replaced."""

    count: int
    answered: int
    possible: int
    other: int
    restarts: int


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with tempfile.TemporaryDirectory(prefix="legion-reliability-") as scratch:
        folder = Path(scratch)
        runs = [_overloaded(folder, model, times, scale) for model in MODELS for times in scale.overloads]
        waiting = _waiting(folder, scale)
    return section(runs, waiting, scale)


def _overloaded(folder: Path, model: Model, times: int, scale: Scale) -> Run:
    packed = probes.artifact(folder / "overloaded.zip", 1, predict=model.predict, merges=model.merges)
    with gateway("", str(packed), "--timeout", str(scale.timeout)) as running:
        found = arrivals.run(
            running.port,
            running.folder / "arrivals",
            rate=times * model.capacity,
            seconds=scale.arriving,
            deadline=2 * scale.timeout,
        )
        restarts = round(running.counted("legion_worker_restarts_total"))
    lag = percentile([one.sent - one.due for one in found], 99)
    if lag > _LAG:
        raise Failed(f"the load generator was {lag * 1e3:.0f} ms late at the 99th percentile; the machine is too busy")
    return Run(model, times, found, restarts)


def _waiting(folder: Path, scale: Scale) -> Waiting:
    """A healthy model that is not merged, and twice as many callers as it can answer before the deadline."""
    model = Model("", _CALL, 0.0, merges=False)
    packed = probes.artifact(folder / "waiting.zip", 1, predict=model.predict, merges=False)
    count = round(2 * scale.waiting_timeout * model.capacity)
    with gateway("", str(packed), "--timeout", str(scale.waiting_timeout)) as running:
        began = time.monotonic()
        with callers.started(running.port, running.folder / "calls", count=count, pause=0.1) as load:
            time.sleep(max(0.0, began + scale.waiting - time.monotonic()))
        restarts = round(running.counted("legion_worker_restarts_total"))
    calls = within(load.calls, scale.waiting)
    answered = sum(not call.failed for call in calls)
    return Waiting(count, answered, round(scale.waiting * model.capacity), len(calls) - answered, restarts)


def within(calls: Sequence[Call], seconds: float) -> list[Call]:
    """Those that ended within so many seconds of the first one's start."""
    start = min(call.sent for call in calls)
    return [call for call in calls if call.came <= start + seconds]


def goodput(found: Sequence[Arrival], lead: float, seconds: float, deadline: float) -> float:
    """Predictions per second that came before their deadline.

    Arrivals take so many seconds. The first `lead` seconds are not counted: a gateway that knows nothing of its model
    finds out how large its batches may be. Counted is from the last good answer of that time, which is the end of a
    batch, to the last of all, and at least to the end of the arrivals.
    """
    start = min(one.due for one in found)
    good = [one.came for one in found if one.own and one.latency <= deadline]
    first = max((came for came in good if came <= start + lead), default=start + lead)
    last = max([start + seconds, *good])
    return sum(came > first for came in good) / (last - first)


def percentile(values: Sequence[float], percent: int) -> float:
    """By linear interpolation; 0 of nothing."""
    if len(values) < 2:
        return max(values, default=0.0)
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def section(runs: Sequence[Run], waiting: Waiting, scale: Scale) -> Section:
    """Demands for each model, and the figures of each run."""
    demands = []
    for model in MODELS:
        of_model = [run for run in runs if run.model == model]
        demands += _demands(model, of_model, scale)
    share = 100 * waiting.answered / waiting.possible
    demands += [
        at_least(f"{waiting.count} callers who wait: answers of those possible", share, _SHARE, "%"),
        none_of(f"{waiting.count} callers who wait: workers replaced", waiting.restarts),
    ]
    return Section(
        "More requests than can be answered",
        tuple(demands),
        (
            Table(
                ("model", "arrivals", "in time", "of capacity", "refused", "p50, p99 of these", "no answer"),
                tuple(_row(run, scale) for run in runs),
            ),
            Table(
                ("callers who wait", "figure"),
                (
                    (f"answered in {number(scale.waiting)} s", f"{waiting.answered} of {waiting.possible}"),
                    ("refused or not answered", f"{waiting.other:,}"),
                ),
            ),
        ),
        (
            f"Requests arrive for {number(scale.arriving)} s at random times drawn beforehand (a Poisson process), "
            f"whether or not others have been answered. The timeout is {number(scale.timeout)} s; latency counts from "
            "the time a request was due. The models sleep for a known time per call and per row, so that their "
            f"capacity is known: for one that merges it is that of batches of {_BATCH}. An answer counts when it is "
            "the right one and came in time; whatever else was answered counts as refused. Each run starts a gateway "
            f"with one worker, which has the first {number(scale.timeout)} s to find out how fast its model is; what "
            "comes after that is held against the capacity and the time to refuse.",
            f"Then {waiting.count} callers ask a model that takes {_CALL:g} s and does not merge, with a timeout of "
            f"{number(scale.waiting_timeout)} s, and ask again when they are answered: twice as many as can be "
            "answered before the deadline.",
        ),
    )


def _demands(model: Model, runs: Sequence[Run], scale: Scale) -> list[Demand]:
    shares = [_share(run, scale) for run in runs]
    times = ", ".join(str(run.times) for run in runs)
    silent = sum(one.refused and one.retry_after is None for run in runs for one in run.arrivals)
    unanswered = sum(one.status < 0 for run in runs for one in run.arrivals)
    demands = [
        Demand(
            f"{model.name}: answered in time at {times} times the capacity",
            f"≥ {_SHARE:g} % of it",
            ", ".join(f"{share:.0f} %" for share in shares),
            min(shares) >= _SHARE,
        ),
        none_of(f"{model.name}: refusals without Retry-After, or no answer", silent + unanswered),
        none_of(f"{model.name}: workers replaced", sum(run.restarts for run in runs)),
    ]
    for run in runs:
        if run.times == _HELD_AT:
            what = f"{model.name}: time to refuse at {run.times} times the capacity, p99"
            demands.append(at_most(what, 1e3 * percentile(_refusals(run, scale), 99), _REFUSED, "ms"))
    return demands


def _share(run: Run, scale: Scale) -> float:
    return 100 * goodput(run.arrivals, scale.timeout, scale.arriving, scale.timeout) / run.model.capacity


def _refusals(run: Run, scale: Scale) -> list[float]:
    """Seconds from when a request was due to its refusal, once the gateway knows its model."""
    known = min(one.due for one in run.arrivals) + scale.timeout
    return [one.latency for one in run.arrivals if one.refused and one.due >= known]


def _row(run: Run, scale: Scale) -> tuple[str, ...]:
    refusals = _refusals(run, scale)
    middle, worst = (1e3 * percentile(refusals, percent) for percent in (50, 99))
    return (
        run.model.name,
        f"{number(run.times * run.model.capacity)}/s",
        f"{number(goodput(run.arrivals, scale.timeout, scale.arriving, scale.timeout))}/s",
        f"{_share(run, scale):.0f} %",
        f"{len(refusals):,}",
        f"{middle:.1f} ms, {number(worst)} ms" if refusals else "",
        str(sum(one.status < 0 for one in run.arrivals)),
    )
