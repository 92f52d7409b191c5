"""Cuts a failing scenario down to the steps that make it fail."""

from __future__ import annotations

from collections.abc import Callable

from scenario import Scenario


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool], *, tries: int = 400) -> Scenario:
    """Leave out ever smaller runs of steps while it still fails."""
    size = max(1, len(scenario.steps) // 2)
    while tries > 0:
        place, smaller = 0, False
        while place < len(scenario.steps) and tries > 0:
            candidate = scenario.without(set(range(place, place + size)))
            tries -= 1
            if fails(candidate):
                scenario, smaller = candidate, True
            else:
                place += size
        if size == 1 and not smaller:
            break
        size = max(1, size // 2)
    return scenario
