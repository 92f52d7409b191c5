"""What a proof finds: demands that are met or missed, tables of what was measured, how it was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec


class Demand(msgspec.Struct, frozen=True):
    """`wanted` and `measured` are for people; `met` is decided where the figure is known."""

    what: str
    wanted: str
    measured: str
    met: bool


class Table(msgspec.Struct, frozen=True):
    """Figures that no demand is made of, or that show where a demand's figure comes from."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Section(msgspec.Struct, frozen=True):
    """One proof."""

    title: str
    demands: tuple[Demand, ...]
    tables: tuple[Table, ...] = ()
    how: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether all demands are; a proof without any proves nothing."""
        return bool(self.demands) and all(demand.met for demand in self.demands)


class Failed(Exception):
    """A proof that could not be carried through; the message is one sentence."""


def none_of(what: str, count: int) -> Demand:
    """A demand that something did not happen at all."""
    return Demand(what, "0", f"{count:,}", count == 0)


def at_most(what: str, value: float, limit: float, unit: str) -> Demand:
    """A demand that a figure stays within a limit."""
    return Demand(what, f"≤ {number(limit)} {unit}", f"{number(value)} {unit}", value <= limit)


def at_least(what: str, value: float, limit: float, unit: str) -> Demand:
    """A demand that a figure reaches a limit."""
    return Demand(what, f"≥ {number(limit)} {unit}", f"{number(value)} {unit}", value >= limit)


def number(value: float) -> str:
    """Three significant digits at most, thousands separated."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def seconds(value: float) -> str:
    """A time."""
    return f"{number(value)} s"


def middle_and_worst(values: Sequence[float]) -> str:
    """Median and maximum of times, seconds."""
    return f"{seconds(statistics.median(values))}, worst {seconds(max(values))}" if values else "none"
