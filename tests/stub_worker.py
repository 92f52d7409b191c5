"""A worker that does by hand what a test says: it answers, streams, fails and ends."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence

from legion import wire
from legion.gateway.dispatch.worker import OnPiece, OnReplies


class StubWorker:
    """`posted` has the bodies of each frame. It takes `ending` seconds to stop; `ended` says that it has."""

    _pids = itertools.count(1)

    def __init__(self, *, merges: bool = False, ending: float = 0.0) -> None:
        self.report = wire.Report(merges=merges)
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_replies: OnReplies | None = None
        self.on_piece: OnPiece | None = None
        self.pid = next(self._pids)
        self.posted: list[list[bytes]] = []
        self.dropped: list[int] = []
        self.allowed: list[wire.Allow] = []
        self.broken: Exception | None = None
        self.stopped = self.killed = self.ended = False
        self._ending = ending
        self._waiting: deque[bytes] = deque()
        self._calls = 0

    def post(self, calls: Sequence[wire.Call]) -> int:
        if self.broken is not None:
            raise self.broken
        first = self._calls
        self._calls += len(calls)
        self.posted.append([call.body for call in calls])
        self._waiting.extend(call.body for call in calls)
        return first

    def drop(self, number: int) -> None:
        if self.broken is not None:
            raise self.broken
        self.dropped.append(number)

    def allow(self, message: wire.Allow) -> None:
        self.allowed.append(message)

    def answer(self, calls: int = 1, seconds: float = 0.0) -> None:
        """Answer the next calls, each with its own body; `seconds` is what it says of each."""
        micros = round(seconds * 1e6)
        self.reply(*(wire.Reply(200, self._waiting[place], predict_us=micros) for place in range(calls)))

    def reply(self, *replies: wire.Reply) -> None:
        """Answer the next calls with these."""
        for _ in replies:
            self._waiting.popleft()
        assert self.on_replies is not None
        self.on_replies(list(replies))

    def say(self, piece: wire.Piece) -> None:
        """A piece of a streamed answer."""
        assert self.on_piece is not None
        self.on_piece(piece)

    def die(self) -> None:
        """End, whatever it has to do."""
        self.ended = True
        if not self.lost.done():
            self.lost.set_result(None)

    async def stop(self) -> None:
        self.stopped = True
        await asyncio.sleep(self._ending)
        await self.kill()

    async def kill(self) -> None:
        self.killed = True
        self.die()
