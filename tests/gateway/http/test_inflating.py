"""Compressed bodies are inflated within the memory budget."""

from __future__ import annotations

import asyncio
import gzip
import threading

import pytest

from legion.gateway.http import compression, inflating
from legion.gateway.http.inflating import Inflating
from legion.gateway.http.offload import Stop
from legion.gateway.http.refusal import Refusal
from legion.gateway.memory_budget import COPIES, MemoryBudget

ZEROS = bytes(100_000)


async def inflate(budget: MemoryBudget, body: bytes, limit: int) -> bytes:
    return await Inflating(budget).inflate(body, limit, asyncio.get_running_loop().time() + 20)


async def refusal_of(budget: MemoryBudget, body: bytes, limit: int) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await inflate(budget, body, limit)
    return refused.value


def test_nothing_is_held_of_what_was_inflated() -> None:
    budget = MemoryBudget(1_000_000)
    assert asyncio.run(inflate(budget, gzip.compress(ZEROS), 200_000)) == ZEROS
    assert budget.held == 0


@pytest.mark.parametrize(
    ("memory", "body", "status"),
    [
        (1_000_000, gzip.compress(ZEROS), 413),
        (1_000_000, b"no gzip", 400),
        (1_000_000, gzip.compress(ZEROS)[:-1], 400),
        # It is below the limit, and there is no room for it now.
        (50_000, gzip.compress(ZEROS), 503),
        (0, gzip.compress(b"a"), 503),
    ],
)
def test_what_cannot_be_inflated_is_refused_and_not_held(memory: int, body: bytes, status: int) -> None:
    budget = MemoryBudget(memory)
    limit = 99_999 if status == 413 else 200_000
    refused = asyncio.run(refusal_of(budget, body, limit))
    assert (refused.status, refused.retry_after) == (status, 1 if status == 503 else None)
    assert budget.held == 0


def test_what_a_body_may_become_is_held_while_it_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    body = gzip.compress(ZEROS)
    budget = MemoryBudget(10_000_000)
    begun, go = threading.Semaphore(0), threading.Event()

    def waiting(body: bytes, limit: int, stop: Stop) -> bytes:
        begun.release()
        go.wait(20)
        return compression.inflated(body, limit, stop)

    monkeypatch.setattr(inflating, "inflated", waiting)

    async def scenario() -> None:
        several = Inflating(budget)
        bodies = [
            asyncio.create_task(several.inflate(body, 200_000, asyncio.get_running_loop().time() + 20))
            for _ in range(10)
        ]
        for _ in range(2):
            await asyncio.to_thread(begun.acquire)
        # No more at once, so that those that wait for their turn hold nothing.
        assert not begun.acquire(blocking=False)
        room = min(200_000, 1032 * len(body))
        assert budget.held == 2 * COPIES * room
        go.set()
        assert await asyncio.gather(*bodies) == [ZEROS] * 10
        assert budget.held == 0

    asyncio.run(scenario())


def test_a_body_that_waits_for_its_turn_has_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def waiting(body: bytes, limit: int, stop: Stop) -> bytes:
        go.wait(20)
        return b""

    monkeypatch.setattr(inflating, "inflated", waiting)

    async def scenario() -> None:
        budget = MemoryBudget(10_000_000)
        several, now = Inflating(budget), asyncio.get_running_loop().time()
        first = [asyncio.create_task(several.inflate(b"1", 1000, now + 20)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await several.inflate(b"1", 1000, now + 0.01)
        assert refused.value.status == 408
        go.set()
        assert await asyncio.gather(*first) == [b"", b""]
        assert budget.held == 0

    asyncio.run(scenario())
