"""PostgreSQL, the S3 store and MLflow's server killed under load: serving goes on, following resumes."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

import callers
import msgspec
from callers import Call
from demands import Demand, Section, Table, at_most, none_of, number, seconds
from parts import Gateway, Team, gateway, out_of_reach, team, until
from scale import Scale

from legion.errors import LegionError

_ALL: Final = ("PostgreSQL", "the S3 store", "MLflow's server")
_KILLED: Final[dict[str, tuple[str, ...]]] = {
    "MLflow's server": ("MLflow's server",),
    "PostgreSQL": ("PostgreSQL",),
    "the S3 store": ("the S3 store",),
    "all three": _ALL,
}
_RESTART = 10.0  # seconds that a gateway may take to serve again without its registry
# Seconds from an alias move to the new version: a look at the registry, a fetch, a start, on a machine under load; the
# pause of MLflow's client between its tries at a server that was away comes on top.
_FOLLOWED = 8.0
_CACHED = 1  # the version that was served first


class Outage(msgspec.Struct, frozen=True):
    """Moments: killed (for the store: the alias moved to what only the store has); the gateway said so; the parts are
    back; the alias moved (`first`); its version serving. `aside` is in how many seconds a version from the cache
    answered while the store was dead, 0 where that was not asked."""

    what: str
    killed: float
    noticed: float
    back: float
    first: float
    followed: float
    reason: str
    aside: float


def prove(scale: Scale) -> Section:
    """The whole proof."""
    return _prove(_KILLED, scale)


def prove_short(scale: Scale) -> Section:
    """Only the store, and then all three."""
    return _prove({what: _KILLED[what] for what in ("the S3 store", "all three")}, scale)


def _prove(kinds: dict[str, tuple[str, ...]], scale: Scale) -> Section:
    with team() as stack, gateway(stack.mlflow.url) as running:
        first, second = stack.registry.version(), stack.registry.version()
        assert first == _CACHED
        stack.registry.point(first)
        running.deploy()
        stack.registry.point(second)
        until(lambda: running.serving() == second, "the first swap")
        with callers.started(running.port, running.folder / "calls") as load:
            outages = [_outage(stack, running, what, names, scale) for what, names in kinds.items()]
        served = running.serving()
        new = stack.registry.version()
        stack.kill(*_ALL)
        restarted, answers = _restart(running)
        same = running.serving() == served
        stack.back(*_ALL)
        moved = stack.registry.point_patiently(new)
        followed = until(lambda: running.serving() == new, "the new version after the gateway's restart", 90) - moved
        return _section(load.calls, outages, (restarted, answers, same, followed), scale)


def _outage(stack: Team, running: Gateway, what: str, names: tuple[str, ...], scale: Scale) -> Outage:
    new = stack.registry.version()
    killed = time.monotonic()
    stack.kill(*names)
    store_only = names == ("the S3 store",)
    if store_only:
        # It is asked only when something is to be fetched.
        killed = stack.registry.point(new)
        noticed = until(lambda: running.variant()["refused"], "the failure of a download", 90)
        reason = running.variant()["refused"]["reason"]
    else:
        noticed = until(lambda: out_of_reach(running), f"the loss of {what}", 90)
        reason = running.variant()["registry"]
    time.sleep(scale.away)
    aside = 0.0
    if store_only:
        # What is in the cache needs no store: a failed download must not hold up the next alias move.
        before = int(running.variant()["standby"]["registered"]["version"])
        aside = -stack.registry.point(before)
        aside += until(lambda: running.serving() == before, "a cached version while the store is dead", 90)
    stack.back(*names)
    back = time.monotonic()
    first = stack.registry.point_patiently(new)
    followed = until(lambda: running.serving() == new, f"the new version after {what} came back", 120)
    until(lambda: out_of_reach(running) is None, "the registry's return")
    return Outage(what, killed, noticed, back, first, followed, reason, aside)


def _restart(running: Gateway) -> tuple[float, list[Call]]:
    """End the gateway and start it again; seconds until it answered, and what callers saw then."""
    running.stop()
    began = time.monotonic()
    running.start()

    def serves() -> bool:
        with suppress(LegionError):
            return running.serving() is not None
        return False

    took = until(serves, "the restored deployment", 60) - began
    with callers.started(running.port, running.folder / "again") as load:
        time.sleep(1)
    return took, load.calls


def _section(
    calls: list[Call], outages: list[Outage], restart: tuple[float, list[Call], bool, float], scale: Scale
) -> Section:
    restarted, answers, same, followed = restart
    demands, rows = [], []
    for one in outages:
        between = [call for call in calls if one.killed <= call.sent < one.back]
        demands += [
            none_of(f"{one.what}: requests without their right answer", sum(call.failed for call in between)),
            at_most(f"{one.what}: a moved alias is followed when it is back", one.followed - one.first, _FOLLOWED, "s"),
        ]
        if one.aside:
            what = f"{one.what}: meanwhile the alias is moved to a version in the cache"
            demands.append(at_most(what, one.aside, _FOLLOWED, "s"))
        rows.append(
            (
                one.what,
                f"{number(one.back - one.killed)} s, {len(between):,} answers",
                seconds(one.noticed - one.killed),
                seconds(one.followed - one.first),
                one.reason,
            )
        )
    demands += [
        none_of("all of the time: requests without their right answer", sum(call.failed for call in calls)),
        Demand(
            "gateway restarted while all three are down: serves what it served",
            f"≤ {_RESTART:g} s",
            seconds(restarted) if same else "another version",
            same and restarted <= _RESTART,
        ),
        none_of("requests after that restart without their right answer", sum(call.failed for call in answers)),
        at_most("a moved alias is followed when all are back", followed, _FOLLOWED, "s"),
    ]
    return Section(
        "Registry and store killed while serving",
        tuple(demands),
        (
            Table(
                ("killed with -9", "down", "time to notice", "back to new version", "what the admin API said"),
                tuple(rows),
            ),
        ),
        (
            "On the team stack, as above, eight callers ask all the time. Each part is killed with -9, with "
            "everything that belongs to it, is left dead, and started again on its data. The time to notice runs "
            "from the kill to the moment when the admin API says that the registry cannot be asked. The S3 store is "
            "asked only when something is to be fetched: the alias is moved to a new version while it is dead, and "
            "the time runs from that move to the failed download in the admin API; then the alias is moved to a "
            "version that is in the gateway's cache. The last time runs from an alias move after the part is back, "
            "to a version that was registered before, until the admin API shows that version serving. A download "
            "that failed is tried again after 5 s, then 10 s and so on.",
            "For the restart the gateway is ended and started again while all three are dead; it knows the "
            "deployment from its state folder and the model from its cache.",
        ),
    )
