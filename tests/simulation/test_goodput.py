"""What a pool gets done: under more than its workers can do, and for callers who wait for their answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fake_worker import FakeWorker, Fate, SimulatedReplica
from scenario import Model
from virtual_loop import run

from legion import wire
from legion.gateway.dispatch.pending import QueueFull, TooLate, Unanswered
from legion.gateway.dispatch.pool import Pool
from legion.gateway.limits import Limits
from legion.gateway.metrics import Meter

TIMEOUT = 10.0


class _NoWitness:
    def executed(self, worker: FakeWorker, call: wire.Call) -> None:
        """Nobody asks."""

    def killed(self, worker: FakeWorker) -> None:
        """Nobody asks."""


class Load:
    """A pool of one model, and what became of the requests to it. `refused` has each refusal's seconds."""

    def __init__(self, model: Model, workers: int = 1, timeout: float = TIMEOUT) -> None:
        self.answers = 0
        self.late = 0
        self.refused: list[float] = []
        self.made: list[FakeWorker] = []
        self._model = model
        self._workers = workers
        self._timeout = timeout

    def _make(self, plan: wire.Plan) -> FakeWorker:
        self.made.append(FakeWorker(self._model, "1", Fate(), _NoWitness()))
        return self.made[-1]

    async def run(self, load: Callable[[], Awaitable[None]]) -> None:
        """Start, load, stop."""
        replica: Any = type("Replica", (SimulatedReplica,), {"make": staticmethod(self._make)})
        plan = wire.Plan("model", "1", "/nowhere", "gppi")

        async def start(seconds: float) -> Any:
            return await replica.start(plan, None, start_timeout=seconds)

        limits = Limits(timeout=self._timeout)
        self.pool = Pool("model", start, workers=self._workers, limits=limits, meter=Meter())
        await self.pool.start()
        await load()
        await self.pool.stop()

    async def call(self) -> Unanswered | None:
        """One request; why it was not answered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self.pool.submit(wire.Call(wire.MLFLOW, b"1"), None, began + self._timeout).future
        except QueueFull as reason:
            self.refused.append(loop.time() - began)
            return reason
        except TooLate as reason:
            self.late += 1
            return reason
        self.answers += 1
        return None


def closed(load: Load, callers: int, seconds: float, pause: Callable[[], float]) -> None:
    """Callers who each call again when they have their answer, after a pause; as long as that."""

    async def caller() -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            reason = await load.call()
            await asyncio.sleep(pause() if reason is None else reason.retry_after)

    async def all_of_them() -> None:
        callers_of_it = [asyncio.create_task(caller()) for _ in range(callers)]
        await asyncio.sleep(seconds)
        for one in callers_of_it:
            one.cancel()
        await asyncio.gather(*callers_of_it, return_exceptions=True)

    run(lambda: load.run(all_of_them))


def opened(load: Load, rate: float, seconds: float) -> None:
    """Requests that come at random, so many a second, whatever becomes of those before."""
    rng = random.Random(7)

    async def arrivals() -> None:
        calls = set()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await asyncio.sleep(rng.expovariate(rate))
            calls.add(asyncio.create_task(load.call()))
        await asyncio.sleep(0)
        await asyncio.gather(*calls)

    run(lambda: load.run(arrivals))


def test_a_slow_model_with_many_callers_answers_all_that_it_can() -> None:
    """Forty callers of a model that takes half a second: a worker is never ended, and never works for nobody."""
    load = Load(Model(merges=False, seconds=0.5, each=0.0, prone=0.0, follows=False))
    closed(load, 40, 45.0, lambda: 0.0)
    assert load.answers >= 88
    assert len(load.made) == 1
    assert load.late <= 1


MODELS = {
    "quick, single": (Model(merges=False, seconds=0.002, each=0.0, prone=0.0, follows=False), 500.0, 3.0),
    "slow, single": (Model(merges=False, seconds=0.5, each=0.0, prone=0.0, follows=False), 2.0, 90.0),
    "quick, merged": (Model(merges=True, seconds=0.002, each=0.001, prone=0.0, follows=False), 990.0, 3.0),
    "slow, merged": (Model(merges=True, seconds=0.5, each=0.05, prone=0.0, follows=False), 18.0, 90.0),
}


@pytest.mark.parametrize("overload", [2, 5, 10])
@pytest.mark.parametrize("name", MODELS)
def test_under_overload_nine_tenths_of_what_can_be_answered_is(name: str, overload: int) -> None:
    model, capacity, seconds = MODELS[name]
    load = Load(model)
    opened(load, capacity * overload, seconds)
    assert load.answers >= 0.9 * capacity * seconds
    assert len(load.made) == 1
    # Whoever is refused learns it at once.
    refusals = sorted(load.refused + [TIMEOUT] * load.late)
    assert refusals[int(0.99 * len(refusals))] < 0.05


@pytest.mark.parametrize("seconds", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("callers", [8, 32])
def test_callers_of_a_merging_model_are_answered_together(callers: int, seconds: float) -> None:
    """They come back within two milliseconds; in the ideal all of them are in every batch."""
    rng = random.Random(3)
    load = Load(Model(merges=True, seconds=seconds, each=0.0, prone=0.0, follows=False))
    closed(load, callers, 200 * seconds, lambda: rng.uniform(0.0002, min(0.002, seconds / 12)))
    assert load.answers >= 0.85 * callers * 200


def test_nobody_is_waited_for_in_vain_for_long() -> None:
    """Requests that come one at a time are answered nearly as soon as without any waiting."""
    load = Load(Model(merges=True, seconds=0.02, each=0.0, prone=0.0, follows=False))
    closed(load, 1, 10.0, lambda: 0.0005)
    assert load.answers >= 0.97 * 10.0 / 0.0205


def test_a_model_that_becomes_slow_is_not_taken_to_hang() -> None:
    """Frames were large while it was quick; what is in them is answered call by call."""
    model = Model(merges=False, seconds=0.0001, each=0.0, prone=0.0, follows=False)
    load = Load(model)

    async def slows_down() -> None:
        calls = [asyncio.create_task(load.call()) for _ in range(200)]
        await asyncio.gather(*calls)
        load.made[0].model = Model(merges=False, seconds=0.5, each=0.0, prone=0.0, follows=False)
        calls = [asyncio.create_task(load.call()) for _ in range(200)]
        await asyncio.gather(*calls)

    run(lambda: load.run(slows_down))
    assert len(load.made) == 1
    assert load.answers >= 200 + 18
