"""The gateway's dispatch under simulation: see world.py for what must hold, and mutations.py for what it finds."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from mutations import MUTATIONS, Mutation
from run import failing, shown
from scenario import draw
from shrink import shrink
from world import World, simulate

from legion.gateway.deployments.variant import Variant
from legion.gateway.dispatch.pool import Pool
from legion.gateway.http.exchange import Exchange

SEEDS = 1000
# Each fault is found among these; most among the first thirty.
ENOUGH = 400


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_what_must_hold_holds(first: int) -> None:
    bad = failing(range(first, first + 100))
    assert not bad, shown(draw(bad[0]))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_fault_that_is_put_back_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    assert any(simulate(draw(seed)) for seed in range(ENOUGH))


def test_nothing_is_kept_of_a_run() -> None:
    before = _living()
    for seed in range(20):
        simulate(draw(seed))
    kept = _living() - before
    assert not kept


def _living() -> Counter[str]:
    gc.collect()
    kinds = World, Variant, Pool, Exchange
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds))


def test_a_seed_runs_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[1](monkeypatch)
    first = [simulate(draw(seed)) for seed in range(40)]
    assert first == [simulate(draw(seed)) for seed in range(40)]
    assert any(first)


def test_a_failing_scenario_is_cut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[1](monkeypatch)
    scenario = next(one for one in map(draw, range(50)) if simulate(one))
    smaller = shrink(scenario, lambda one: bool(simulate(one)))
    assert simulate(smaller)
    assert len(smaller.steps) < len(scenario.steps) / 2
