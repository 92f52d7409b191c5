"""What is counted against the memory budget, and when no more fits."""

from __future__ import annotations

from legion.gateway.memory_budget import MemoryBudget


def test_what_fits_is_counted_and_what_does_not_is_not() -> None:
    budget = MemoryBudget(100)
    assert budget.take(60)
    assert not budget.take(41)
    assert (budget.held, budget.free) == (60, 40)
    assert budget.take(40)
    budget.give(100)
    assert budget.held == 0


def test_answers_are_counted_beyond_the_limit_and_keep_requests_out() -> None:
    budget = MemoryBudget(100)
    budget.add(150)
    assert budget.free == 0
    assert not budget.take(1)
    # What becomes smaller always fits.
    assert budget.take(-20)
    budget.give(130)
    assert budget.take(100)
