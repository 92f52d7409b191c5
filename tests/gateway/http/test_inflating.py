"""Compressed bodies are inflated within the memory budget."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable
from typing import Any

import pytest

from legion.gateway.http import inflating
from legion.gateway.http.inflating import Inflating
from legion.gateway.http.refusal import Refusal
from legion.gateway.memory_budget import COPIES, MemoryBudget

ZEROS = bytes(100_000)


async def refusal_of(budget: MemoryBudget, body: bytes, limit: int) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await Inflating(budget).inflate(body, limit)
    return refused.value


def test_nothing_is_held_of_what_was_inflated() -> None:
    budget = MemoryBudget(1_000_000)
    assert asyncio.run(Inflating(budget).inflate(gzip.compress(ZEROS), 200_000)) == ZEROS
    assert budget.held == 0


@pytest.mark.parametrize(
    ("memory", "body", "status"),
    [
        (1_000_000, gzip.compress(ZEROS), 413),
        (1_000_000, b"no gzip", 400),
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

    def waiting(inflated: Callable[[bytes, int], bytes]) -> Callable[[bytes, int], Any]:
        def inflate(body: bytes, limit: int) -> bytes:
            begun.release()
            go.wait(20)
            return inflated(body, limit)

        return inflate

    monkeypatch.setattr(inflating, "inflated", waiting(inflating.inflated))

    async def scenario() -> None:
        several = Inflating(budget)
        bodies = [asyncio.create_task(several.inflate(body, 200_000)) for _ in range(10)]
        for _ in range(4):
            await asyncio.to_thread(begun.acquire)
        # No more at once, so that those that wait for their turn hold nothing.
        assert not begun.acquire(blocking=False)
        room = min(200_000, 1032 * len(body))
        assert budget.held == 4 * COPIES * room
        go.set()
        assert await asyncio.gather(*bodies) == [ZEROS] * 10
        assert budget.held == 0

    asyncio.run(scenario())
