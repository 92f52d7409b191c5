"""Inflates compressed bodies beside the event loop, within the memory budget."""

from __future__ import annotations

import asyncio

from legion.gateway.dispatch.pending import Receive
from legion.gateway.http.compression import inflated
from legion.gateway.http.offload import offload
from legion.gateway.http.refusal import Refusal, no_room
from legion.gateway.memory_budget import COPIES, MemoryBudget

# As many as there are threads for it, so that nothing is held for those that wait.
_AT_ONCE = 2
# Deflate makes no more of a byte.
_LARGEST_RATIO = 1032


class Inflating:
    """A few bodies at once; what a body may become is held for it while it is inflated."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def inflate(self, body: bytes, limit: int, deadline: float, receive: Receive | None = None) -> bytes:
        """The body without its compression; nothing is held for it any more. It ends with its request.

        `deadline` is in the loop's time; `receive` is ASGI's and says when the caller leaves. Raises Left, and Refusal
        for more than `limit` bytes (413), for more than there is room for now (503), for what cannot be inflated (400),
        and where the deadline passes (408).
        """
        try:
            async with asyncio.timeout_at(deadline), self._turn:
                return await self._inflate(body, limit, deadline, receive)
        except TimeoutError:
            raise Refusal(408, "the compressed body was not read in time; send fewer rows at a time", 1) from None

    async def _inflate(self, body: bytes, limit: int, deadline: float, receive: Receive | None) -> bytes:
        room = min(limit, len(body) * _LARGEST_RATIO, self._budget.free // COPIES)
        self._budget.take(COPIES * room)
        try:
            return await offload(lambda stop: inflated(body, room, stop), deadline, receive)
        except Refusal as refusal:
            if refusal.status == 413 and room < limit:
                raise no_room() from None
            raise
        finally:
            self._budget.give(COPIES * room)
