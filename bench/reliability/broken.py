"""The alias moved to each kind of broken model under load: refused, and the one before answers throughout."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import callers
import msgspec
from callers import Call
from demands import Demand, Section, Table, none_of, seconds
from parts import Gateway, Team, gateway, team, until
from scale import Scale

# How each is broken, and words that the recorded reason must have.
_KINDS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "missing requirement": ({"requirement": "legion-has-no-such-package==1.0"}, "legion-has-no-such-package"),
    "failing init": ({"init": "raise RuntimeError('no such device')"}, "no such device"),
    "wrong golden answers": ({"golden": -1}, "golden"),
    "corrupt download": ({}, "not what was registered"),
    "missing download": ({}, ""),
    "exits while loading": ({"init": "os._exit(9)"}, "ended while it was loading"),
}
_REST = 0.5  # seconds of answers after a refusal
_GOOD = 1


class Found(msgspec.Struct, frozen=True):
    """One kind: from the alias move to the refusal in the admin API, and the moments in between."""

    kind: str
    moved: float
    refused: float
    ended: float
    reason: str
    told: str
    processes: int


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with team() as stack, gateway(stack.mlflow.url) as running:
        stack.registry.version()
        stack.registry.point(_GOOD)
        running.deploy()
        versions = {kind: stack.registry.version(**broken) for kind, (broken, _) in _KINDS.items()}
        hanging = stack.registry.version(init="time.sleep(3600)")
        after = stack.registry.version()
        _damage(stack, versions["corrupt download"])
        _lose(stack, versions["missing download"])
        with callers.started(running.port, running.folder / "calls") as load:
            found = [_refused(stack, running, kind, version) for kind, version in versions.items()]
            stalled = _hangs(stack, running, hanging, after, scale)
        return _section(load.calls, found, stalled, scale)


def _files(stack: Team, version: int) -> list[Path]:
    bucket = stack.store.path(stack.store.bucket)
    return [path for path in bucket.rglob("*") if stack.registry.stored(version) in path.parts and path.is_file()]


def _damage(stack: Team, version: int) -> None:
    """Change one object in the store behind everybody's back; its length stays."""
    (entrypoint,) = (path for path in _files(stack, version) if path.name == "entrypoint.py")
    entrypoint.write_text(entrypoint.read_text().replace("import os, time", "import os,  tim"))


def _lose(stack: Team, version: int) -> None:
    """Remove the version's objects from the store."""
    for path in _files(stack, version):
        path.unlink()


def _refused(stack: Team, running: Gateway, kind: str, version: int) -> Found:
    workers = len(running.variant()["serving"]["workers"])
    moved = stack.registry.point(version)

    def refused() -> bool:
        found = running.variant()["refused"]
        return found is not None and (found["registered"] or {}).get("version") == str(version)

    at = until(refused, f"the refusal of a model with {kind}")
    reason = running.variant()["refused"]["reason"]
    until(lambda: stack.registry.tag(version, "legion.refused"), f"the tag of a model with {kind}", 30, 0.1)
    time.sleep(_REST)
    ended = time.monotonic()
    variant = running.variant()
    more = len(variant["serving"]["workers"]) - workers
    told = stack.registry.tag(version, "legion.refused") or ""
    return Found(kind, moved, at, ended, reason, told, more)


def _hangs(stack: Team, running: Gateway, version: int, after: int, scale: Scale) -> tuple[float, float, float, bool]:
    """A model that never loads: moved, overtaken, overtaken by what answers; and whether its process is gone."""
    moved = stack.registry.point(version)
    until(lambda: "starting" in (running.variant()["starting"] or ""), "the start of the model that hangs")
    time.sleep(scale.hanging)
    overtaken = stack.registry.point(after)
    answered = until(lambda: running.serving() == after, "the version after the one that hangs")
    two: Callable[[], bool] = lambda: len(_workers(running)) == 2  # noqa: E731
    until(two, "the end of the worker that hangs", 20, 0.1)
    time.sleep(_REST)
    return moved, overtaken, answered, two()


def _workers(running: Gateway) -> list[int]:
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"worker/__main__" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _section(calls: list[Call], found: list[Found], stalled: tuple[float, float, float, bool], scale: Scale) -> Section:
    moved, overtaken, answered, gone = stalled
    demands = [none_of("requests without their right answer", sum(call.failed for call in calls))]
    rows = []
    for one in found:
        words = _KINDS[one.kind][1]
        between = [call for call in calls if one.moved <= call.sent < one.ended]
        others = sum(call.version != _GOOD for call in between)
        said = words in one.reason and words in one.told
        demands += [
            Demand(
                f"{one.kind}: refused, with the reason in the admin API and the registry",
                "yes",
                "yes" if said else one.reason,
                said,
            ),
            none_of(f"{one.kind}: answers that were not the old version's", others),
        ]
        rows.append((one.kind, seconds(one.refused - one.moved), f"{len(between):,}", one.reason))
    between = [call for call in calls if moved <= call.sent < overtaken]
    demands += [
        none_of(
            "hangs while loading: answers that were not the old version's",
            sum(call.version != _GOOD for call in between),
        ),
        Demand(
            "hangs while loading: overtaken by the next version, its process gone", "yes", "yes" if gone else "no", gone
        ),
        none_of("workers left behind by refused versions", sum(max(0, one.processes) for one in found)),
    ]
    rows.append(
        (
            "hangs while loading",
            f"overtaken in {seconds(answered - overtaken)}",
            f"{len(between):,}",
            "none: it would be refused after 300 s; the alias moved on before",
        )
    )
    return Section(
        "The alias moved to a broken model",
        tuple(demands),
        (Table(("kind", "alias move to refusal", "answers meanwhile", "recorded reason"), tuple(rows)),),
        (
            "On the team stack, as above, eight callers ask all the time. The alias of a deployment that serves "
            "version 1 is moved to one broken version after the other. The corrupt download is an object that was "
            "changed in the S3 store, the missing one a version whose objects were removed there. The reason is read "
            "from the admin API, and from the version's tag `legion.refused` in the registry.",
            f"A model that hangs while it loads is given {scale.hanging:g} s; then the alias moves to a version that "
            "is whole, which must overtake it.",
        ),
    )
