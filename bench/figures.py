"""What a benchmark run finds: figures in sections, each a ratio in which more is better."""

from __future__ import annotations

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One line of a table.

    `values` are in `unit`, by column; None means void: not measured, or some answer was no 2xx. `ratio` is always
    turned so that more is better: a time is other/Legion, a limit is limit/measured. `target` is the least ratio
    wanted. `means` says what is divided by what.
    """

    key: str
    what: str
    unit: str
    values: dict[str, float | None]
    ratio: float | None = None
    target: float | None = None
    means: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none. A void figure reaches nothing."""
        if self.target is None:
            return None
        return self.ratio is not None and self.ratio >= self.target


class Section(msgspec.Struct, frozen=True):
    """Figures that share their columns, and what one must know to read them."""

    title: str
    columns: tuple[str, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()


def over(value: float | None, other: float | None) -> float | None:
    """value / other, or None where either is void or there is nothing to divide by."""
    if value is None or not other:
        return None
    return value / other
