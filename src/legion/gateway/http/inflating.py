"""Inflates compressed bodies beside the event loop, within the memory budget."""

from __future__ import annotations

import asyncio

from legion.gateway.http.compression import inflated
from legion.gateway.http.refusal import Refusal, no_room
from legion.gateway.memory_budget import MemoryBudget

_AT_ONCE = 4
# Deflate makes no more of a byte.
_LARGEST_RATIO = 1032


class Inflating:
    """A few bodies at once; what a body may become is held for it while it is inflated."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def inflate(self, body: bytes, limit: int) -> bytes:
        """The body without its compression; nothing is held for it any more.

        Raises Refusal for more than `limit` bytes (413), for more than there is room for now (503), and for what cannot
        be inflated (400).
        """
        async with self._turn:
            room = min(limit, len(body) * _LARGEST_RATIO, self._budget.free)
            self._budget.take(room)
            try:
                return await asyncio.to_thread(inflated, body, room)
            except Refusal as refusal:
                if refusal.status == 413 and room < limit:
                    raise no_room() from None
                raise
            finally:
                self._budget.give(room)
