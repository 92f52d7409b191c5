"""Alias moves under load on the team stack: no failed request, no stale answer, nothing that grows."""

from __future__ import annotations

import bisect
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import callers
import holdings
import msgspec
from callers import Call
from demands import Demand, Section, Table, at_most, middle_and_worst, none_of, number
from holdings import Holdings
from parts import FOLLOW, Gateway, Registry, gateway, team, until
from scale import Scale

# What may come on top between the early stock and the last one. What every move leaves behind is left 80 times in
# between: 2 MB are 25 KB a move, less than one release with its pool, plan and metrics; MLflow's client works with
# larger pieces. What the allocators do with freed pages stays below.
_MB: Final = {"gateway": 2.0, "provisioner": 8.0}
_WORKERS = 1.1  # times: they are new processes of the same model
_FILES = 2  # a connection of the admin API that is open in the one moment and not in the other
_STATE = 4096  # bytes: the numbers in the file get longer
_PER_VERSION = 1.1  # times: versions differ by a digit or two
_DWELL = 0.4  # seconds of answers after each move


class Move(msgspec.Struct, frozen=True):
    """One alias move: to which version, how it was chosen, when it was made, when the admin API showed it serving, and
    when the next one was about to be made."""

    version: int
    kind: str
    moved: float
    shown: float
    until: float


def stale(calls: Sequence[Call], moves: Sequence[Move]) -> list[Call]:
    """The answers from another version than the one that was shown serving when they were asked for, and those in
    between from neither the version before nor the one after."""
    ordered = sorted(moves, key=lambda move: move.moved)
    starts = [move.moved for move in ordered]
    wrong = []
    for call in calls:
        place = bisect.bisect_right(starts, call.sent) - 1
        if call.failed or place < 0:
            continue
        move = ordered[place]
        right = {move.version}
        if call.sent < move.shown and place > 0:
            right.add(ordered[place - 1].version)
        # An answer that was on its way when the alias moved again may come from the next one.
        if place + 1 < len(ordered) and call.came >= ordered[place + 1].moved:
            right.add(ordered[place + 1].version)
        if call.version not in right:
            wrong.append(call)
    return wrong


def first_answers(calls: Sequence[Call], moves: Sequence[Move]) -> list[float]:
    """For each move, seconds from it to the first answer of its version."""
    found = []
    by_end = sorted((call for call in calls if not call.failed), key=lambda call: call.came)
    ends = [call.came for call in by_end]
    for move in moves:
        place = bisect.bisect_left(ends, move.moved)
        came = next((call.came for call in by_end[place:] if call.version == move.version), None)
        found.append(float("inf") if came is None else came - move.moved)
    return found


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with team() as stack, gateway(stack.mlflow.url) as running:
        registry = stack.registry
        for _ in range(3):
            registry.version()
        registry.point(1)
        running.deploy()
        # One release that answers and one that is kept warm: what is there from the first swap on.
        registry.point(2)
        until(lambda: running.serving() == 2, "the first swap")
        with callers.started(running.port, running.folder / "calls") as load:
            moved = time.monotonic()
            time.sleep(_DWELL)
            stock = [_stock(running)]
            moves = [Move(2, "before", moved, moved, time.monotonic())]
            served = [2]
            for count in range(1, scale.moves + 1):
                moves.append(_move(running, registry, count, moves))
                if count in (scale.early, scale.moves):
                    stock.append(_stock(running))
                    served.append(len({1, *(move.version for move in moves)}))
        return _section(scale, load.calls, moves, stock, served)


def _move(running: Gateway, registry: Registry, count: int, before: Sequence[Move]) -> Move:
    """Every fifth to a version that is new, the one after it back to the version before, the others to any other."""
    now = before[-1].version
    if count % 5 == 1:
        kind, version = "new", registry.version()
    elif count % 5 == 2 and len(before) > 1:
        kind, version = "back", before[-2].version
    else:
        chance = random.Random(count)
        kind, version = "other", chance.choice([one for one in range(1, registry.versions + 1) if one != now])
    moved = time.monotonic()
    registry.point(version)
    shown = until(lambda: running.serving() == version, f"move {count} to version {version}")
    time.sleep(_DWELL)
    return Move(version, kind, moved, shown, time.monotonic())


def _stock(running: Gateway) -> Holdings:
    # What was drained has a moment to end.
    two = lambda: holdings.of(running.pid, **_places(running)).workers.processes == 2  # noqa: E731
    until(two, "the end of the workers that were drained", 20, 0.1)
    return holdings.of(running.pid, **_places(running))


def _places(running: Gateway) -> dict[str, Path]:
    return {"cache": running.cache, "state": running.state, "temporary": running.temporary}


def _section(scale: Scale, calls: list[Call], moves: list[Move], stock: list[Holdings], served: list[int]) -> Section:
    done = moves[1:]
    took = first_answers(calls, done)
    seen = len({call.version for call in calls if not call.failed})
    lasted = max(call.came for call in calls) - min(call.sent for call in calls)
    by_kind = {kind: [one for one, move in zip(took, done, strict=True) if move.kind == kind] for kind in _KINDS}
    return Section(
        f"{scale.moves} alias moves under load",
        (
            Demand("alias moves that were followed", str(scale.moves), str(len(done)), len(done) == scale.moves),
            none_of("requests without their right answer", sum(call.failed for call in calls)),
            none_of("stale answers", len(stale(calls, moves))),
            Demand(
                "moves whose version answered", str(len(done)), str(len(_finite(took))), len(_finite(took)) == len(done)
            ),
            *_flat(stock[-2], stock[-1], served[-2], served[-1], scale),
        ),
        (
            Table(
                ("", "figure"),
                (
                    ("requests", f"{len(calls):,} in {lasted:.0f} s by 8 callers"),
                    ("versions that answered", str(seen)),
                    ("longest answer", f"{max(call.came - call.sent for call in calls) * 1e3:.0f} ms"),
                    ("median answer", f"{statistics.median(call.came - call.sent for call in calls) * 1e3:.2f} ms"),
                    *(
                        (f"alias move to first answer, {what} ({len(by_kind[kind])})", middle_and_worst(by_kind[kind]))
                        for kind, what in _KINDS.items()
                    ),
                    ("alias move to first answer, all", middle_and_worst(took)),
                ),
            ),
            _table(stock, served, scale),
        ),
        (
            "A gateway follows models:/probe@champion in MLflow's server, which keeps its metadata in PostgreSQL and "
            "its artifacts in an S3 store. An MLflow client moves the alias: every fifth time to a version that was "
            "just registered, the time after that back to the version before, else to any other one. Eight callers "
            "ask all the time, 10 ms after each answer again, and compare each answer with what they asked.",
            "A move is made when the admin API has shown the last one for 0.4 s. An answer is stale when its request "
            "was sent after the admin API showed one version serving, and before the alias was moved again, and "
            "another version gave it; or, in between, when it came from neither the old nor the new version. The "
            f"gateway looks at the registry every {FOLLOW:g} s, the default is 2 s; the times contain the wait for "
            "that look.",
            "What must be flat is compared between the early and the last stock, which have the same number of "
            "releases: one that answers, one that is kept warm. A leak shows as often as there are moves between "
            f"them. The tolerances: {_MB['gateway']:g} MB for the gateway and {_MB['provisioner']:g} MB for the "
            "provisioner, which holds MLflow, are above what the allocators move by themselves and below what a leak "
            "of 25 KB a move (100 KB in the provisioner) would come to; two open files are a connection that is open "
            "in the one moment and not in the other. Memory is compared by resident sets, since proportional ones "
            "change with what other processes of the machine share. On disk each version that was served is kept "
            "once, so the cache is compared by version, and nothing temporary may be left.",
        ),
    )


_KINDS: Final = {"new": "new version", "back": "the version before, warm", "other": "another version, cached"}


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if value != float("inf")]


def _flat(early: Holdings, last: Holdings, few: int, many: int, scale: Scale) -> list[Demand]:
    between = f"from move {scale.early} to {scale.moves}"
    more = f"more {between}"
    cache = (last.cache / many) / (early.cache / few)
    return [
        at_most(f"gateway: memory {between}", last.gateway.rss - early.gateway.rss, _MB["gateway"], "MB"),
        at_most(
            f"provisioner: memory {between}", last.provisioner.rss - early.provisioner.rss, _MB["provisioner"], "MB"
        ),
        at_most(f"workers: memory {between}", last.workers.rss / early.workers.rss, _WORKERS, "times"),
        none_of(f"processes {more}", max(0, _processes(last) - _processes(early))),
        at_most(f"gateway: open files {more}", last.gateway.files - early.gateway.files, _FILES, "files"),
        at_most(f"provisioner: open files {more}", last.provisioner.files - early.provisioner.files, _FILES, "files"),
        at_most(f"disk: cache by version {between}", cache, _PER_VERSION, "times"),
        at_most(f"disk: state folder {between}", last.state - early.state, _STATE, "bytes"),
        none_of("disk: bytes of temporary files at the end", last.temporary),
    ]


def _processes(held: Holdings) -> int:
    return held.gateway.processes + held.provisioner.processes + held.workers.processes


def _table(stock: Sequence[Holdings], served: Sequence[int], scale: Scale) -> Table:
    rows = []
    for kind in ("gateway", "provisioner", "workers"):
        of_kind = [getattr(held, kind) for held in stock]
        rows.append((f"{kind}: processes", *(str(held.processes) for held in of_kind)))
        rows.append((f"{kind}: RSS (PSS)", *(f"{held.rss:.1f} ({held.pss:.1f}) MB" for held in of_kind)))
        rows.append((f"{kind}: open files", *(str(held.files) for held in of_kind)))
    rows.append(("versions served so far", *map(str, served)))
    rows.append(("disk: cache", *(f"{number(held.cache / 1e3)} kB" for held in stock)))
    rows.append(("disk: state", *(f"{number(held.state)} B" for held in stock)))
    rows.append(("disk: temporary files", *(f"{number(held.temporary)} B" for held in stock)))
    return Table(("", "before", f"after {scale.early}", f"after {scale.moves}"), tuple(rows))
