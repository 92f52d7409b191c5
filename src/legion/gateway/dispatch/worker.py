"""What the dispatch needs of a worker process. The real one is `legion.replica.Replica`; simulations have their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from legion import wire

OnReplies = Callable[[wire.Replies], None]
OnPiece = Callable[[wire.Piece], None]


class Worker(Protocol):
    """A process that has reported ready. `lost` is settled when it ends, however that happens."""

    report: wire.Report
    lost: asyncio.Future[None]
    on_replies: OnReplies | None
    on_piece: OnPiece | None

    @property
    def pid(self) -> int:
        """Its process id."""

    def post(self, calls: Sequence[wire.Call]) -> int:
        """Send calls, and return the number of the first of them.

        `on_replies` gets their replies in order, in one go or several, or `lost` comes first.
        """

    def drop(self, number: int) -> None:
        """Nobody waits for this call any more; its reply comes all the same."""

    def allow(self, message: wire.Allow) -> None:
        """Let a stream go on, or end it."""

    async def stop(self) -> None:
        """Let it end, and make sure that it has."""

    async def kill(self) -> None:
        """End it at once."""


# Starts a worker within so many seconds. Raises LegionError with the reason where it does not.
StartWorker = Callable[[float], Awaitable[Worker]]
