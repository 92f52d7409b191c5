"""The ratios last accepted, so that no run gets slower unnoticed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from figures import Figure

from legion.disk.durable import new_file

# By what share a ratio may fall before it is flagged: machines are noisy, even for both sides at once.
TOLERANCE = 0.15


class Baseline(msgspec.Struct, frozen=True):
    """Accepted ratios by figure, and the machine they are from."""

    machine: dict[str, str]
    ratios: dict[str, float]


class Fall(msgspec.Struct, frozen=True):
    """A figure that is worse than accepted. `now` is None where it is void."""

    key: str
    accepted: float
    now: float | None


def read(path: Path) -> Baseline | None:
    """The accepted ratios; None before any were."""
    return msgspec.json.decode(path.read_bytes(), type=Baseline) if path.is_file() else None


def accept(path: Path, figures: Iterable[Figure], machine: dict[str, str]) -> None:
    """Make this run's ratios the accepted ones; figures that were not measured keep theirs."""
    old = read(path)
    ratios = dict(old.ratios) if old else {}
    ratios |= {figure.key: round(figure.ratio, 4) for figure in figures if figure.ratio is not None}
    document = msgspec.json.encode(Baseline(machine, dict(sorted(ratios.items()))))
    with new_file(path) as file:
        file.write(msgspec.json.format(document, indent=2) + b"\n")


def falls(baseline: Baseline | None, figures: Iterable[Figure]) -> list[Fall]:
    """The figures of this run whose ratio is void or fell by more than TOLERANCE."""
    if baseline is None:
        return []
    found = []
    for figure in figures:
        accepted = baseline.ratios.get(figure.key)
        if accepted is not None and (figure.ratio is None or figure.ratio < accepted * (1 - TOLERANCE)):
            found.append(Fall(figure.key, accepted, figure.ratio))
    return found
