"""An answer that comes in pieces, from the worker's first word of it to its last.

Bounded: the worker is allowed a few pieces ahead of those that the caller has taken.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator

from legion.gateway.dispatch.worker import Worker
from legion.wire import PIECES_AHEAD, Allow, BadFrame, Piece, Reply


class Stream:
    """`answered` is settled with the first piece; once it has `begun`, the rest comes by `pieces`.

    `due` is the loop time in seconds by which the worker has to say more, infinite while it is the caller's turn, and
    `timeout` how many seconds it has for each piece.
    """

    __slots__ = (
        "_ahead",
        "_fault",
        "_loop",
        "_number",
        "_pieces",
        "_said",
        "_worker",
        "answered",
        "begun",
        "due",
        "left",
        "timeout",
    )

    def __init__(self, number: int, answered: asyncio.Future[Reply], worker: Worker, due: float, timeout: float):
        self.answered = answered
        self.begun = False
        self.left = False
        self.due = due
        self.timeout = timeout
        self._number = number
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[Piece] = deque()
        self._ahead = PIECES_AHEAD
        self._fault: Exception | None = None
        self._said = asyncio.Event()

    def feed(self, piece: Piece) -> None:
        """Take in what the worker said. Raises BadFrame for a piece that it was not allowed to send."""
        # A last piece needs no leave.
        self._ahead -= not piece.last
        if self._ahead < 0:
            raise BadFrame(f"more pieces of stream {self._number} than it was allowed")
        self.due = self._loop.time() + self.timeout if self._ahead else math.inf
        if self.left:
            return
        if not self.begun:
            self._begin(piece)
        self._pieces.append(piece)
        self._said.set()
        if piece.last:
            # There is nothing more to take leave of.
            self.left = True

    def _begin(self, piece: Piece) -> None:
        if self.answered.done():
            self.leave()
            return
        # A first piece that is the last and no success is an ordinary answer.
        self.begun = piece.status == 200
        reply = Reply(piece.status, piece.body, piece.content_type, predict_us=piece.predict_us)
        reply.stream = self._number if self.begun else 0
        self.answered.set_result(reply)

    def fail(self, fault: Exception) -> None:
        """End it for the caller."""
        if not self.answered.done():
            self.answered.set_exception(fault)
        self._fault = fault
        self._said.set()

    def leave(self) -> None:
        """Take no more of it; the worker ends it at its next piece."""
        if not self.left:
            self.left = True
            self.due = self._loop.time() + self.timeout
            self._worker.allow(Allow(self._number, 0))

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bodies, as they come. Raises what it was failed with where the rest does not come."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                yield piece.body
                if piece.last:
                    return
                self._ahead += 1
                self.due = min(self.due, self._loop.time() + self.timeout)
                self._worker.allow(Allow(self._number, 1))
            if self._fault is not None:
                raise self._fault
            self._said.clear()
            await self._said.wait()
