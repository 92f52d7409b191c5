"""Compressed bodies are inflated within the request's deadline and the memory that is free; nothing stays held."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from legion.gateway.http.inflating import Inflating
from legion.gateway.http.refusal import Refusal
from legion.gateway.memory_budget import MemoryBudget

MIB = 1024 * 1024


def inflate(body: bytes, limit: int, budget: MemoryBudget, seconds: float = 60) -> bytes:
    async def main() -> bytes:
        return await Inflating(budget).inflate(body, limit, asyncio.get_running_loop().time() + seconds)

    return asyncio.run(main())


def test_a_body_is_inflated() -> None:
    budget = MemoryBudget(MIB)
    assert inflate(gzip.compress(b"body"), MIB, budget) == b"body"
    assert budget.held == 0


@pytest.mark.parametrize(
    ("body", "limit", "room", "seconds", "status"),
    [
        (zlib.compress(bytes(2 * MIB)), MIB, 8 * MIB, 60, 413),
        (zlib.compress(bytes(2 * MIB)), 4 * MIB, MIB, 60, 503),
        (zlib.compress(bytes(MIB))[:-1], 4 * MIB, 8 * MIB, 60, 400),
        (zlib.compress(bytes(MIB)), 4 * MIB, 8 * MIB, -1, 408),
    ],
    ids=["over the limit", "no room now", "cut short", "late"],
)
def test_what_is_refused_is_held_no_longer(body: bytes, limit: int, room: int, seconds: float, status: int) -> None:
    budget = MemoryBudget(room)
    with pytest.raises(Refusal) as caught:
        inflate(body, limit, budget, seconds)
    assert caught.value.status == status
    assert budget.held == 0
