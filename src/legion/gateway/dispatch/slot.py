"""One place for a worker, which outlives the processes that fill it, and the requests that are with it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from legion.gateway.dispatch.pending import Crashed, Pending, TooLate
from legion.gateway.dispatch.stream import Stream
from legion.gateway.dispatch.worker import Worker
from legion.wire import STREAMS_AT_ONCE, BadFrame, Piece, Replies, Reply

# A worker is replaced when so many of its streams say nothing, though nobody waits for them any more.
_STUCK = STREAMS_AT_ONCE // 2

# So many calls were answered, and a worker says that they took so many seconds together.
OnAnswered = Callable[["Slot", int, float], None]


class Slot:
    """What a worker has and owes. `timeout` is how long it may take over one call, and a stream over each piece, in
    seconds.

    `since` is the loop time at which its worker last had something to show for itself; `expects` how many requests are
    waited for before it is given more, 0 unless it lingers.
    """

    def __init__(self, now: Callable[[], float], timeout: float, on_answered: OnAnswered) -> None:
        self.worker: Worker | None = None
        self.timeout = timeout
        self.expects = 0
        self.linger: asyncio.Handle | None = None
        self.since = 0.0
        self._now = now
        self._merges = False
        self._on_answered = on_answered
        # Those posted and not answered, oldest first, and how many of them each frame still has.
        self._calls: deque[Pending] = deque()
        self._frames: deque[int] = deque()
        self._frame_calls = 0
        self._frame_seconds = 0.0
        self._streams: dict[int, Pending] = {}

    def fill(self, worker: Worker) -> None:
        """From now on this worker is here."""
        worker.on_replies = partial(self._replies, worker)
        worker.on_piece = partial(self._piece, worker)
        self.worker = worker
        self._merges = worker.report.merges

    @property
    def owes(self) -> bool:
        """Whether somebody still waits for its worker."""
        return bool(self._calls) or any(one.stream is None or not one.stream.left for one in self._streams.values())

    @property
    def busy(self) -> bool:
        """Whether its worker has anything to do."""
        return bool(self._calls or self._streams)

    def takes(self, waiting: int) -> bool:
        """Whether it has nothing to do, and no reason to wait for more than this."""
        return not self._frames and waiting >= self.expects and self.worker is not None

    @property
    def frames(self) -> int:
        """How many frames are with its worker."""
        return len(self._frames)

    def post(self, batch: Sequence[Pending]) -> None:
        """Give these to the worker."""
        assert self.worker is not None
        now = self._now()
        if self.linger is not None:
            self._end_linger()
        if not self._frames:
            self.since = now
        for pending in batch:
            pending.sent = now
            pending.attempts += 1
        first = not self._frames
        self._calls.extend(batch)
        self._frames.append(len(batch))
        number = self.worker.post([pending.call for pending in batch])
        if not self._merges:
            # The first of them is begun at once.
            self._note_behind(batch[first:], number + first)

    def _note_behind(self, calls: Sequence[Pending], number: int) -> None:
        """These come behind others, so that there is time to take them back."""
        for pending in calls:
            pending.worker, pending.number = self.worker, number
            number += 1

    def _end_linger(self) -> None:
        self.expects = 0
        if self.linger is not None:
            self.linger.cancel()
            self.linger = None

    def _replies(self, worker: Worker, replies: Replies) -> None:
        if worker is not self.worker:
            # What an earlier worker says comes too late.
            return
        calls, seconds = self._calls, 0.0
        for reply in replies:
            # Still among those that wait, should the reply be one that no worker sends.
            pending = calls[0]
            if reply.stream:
                self._begin(pending, reply.stream)
            else:
                pending.settle(reply)
            calls.popleft()
            if not self._merges:
                seconds += _took(reply)
        if self._merges:
            # Those that were predicted together say the same.
            seconds = max(_took(replies[0]), _took(replies[-1]))
        self._answered(len(replies), seconds)

    def _answered(self, calls: int, seconds: float) -> None:
        """Take so many calls off the frames, and tell of each frame that is whole."""
        now, frames = self._now(), self._frames
        if calls == frames[0] and not self._frame_calls:
            # As nearly all are: one frame, answered in one go.
            frames.popleft()
            since, self.since = self.since, now
            self._on_answered(self, calls, min(seconds, now - since + 1e-3))
            return
        self._frame_seconds = max(self._frame_seconds, seconds) if self._merges else self._frame_seconds + seconds
        while calls:
            done = min(calls, self._frames[0])
            calls -= done
            self._frames[0] -= done
            self._frame_calls += done
            if not self._frames[0]:
                self._frames.popleft()
                whole, took = self._frame_calls, self._frame_seconds
                self._frame_calls, self._frame_seconds = 0, 0.0
                # A worker cannot have taken longer than it was given.
                self._on_answered(self, whole, min(took, now - self.since + 1e-3))
        self.since = now

    def _begin(self, pending: Pending, number: int) -> None:
        """The answer of this request is streamed."""
        if number in self._streams or len(self._streams) >= STREAMS_AT_ONCE:
            raise BadFrame(f"stream {number}, beside {len(self._streams)} others")
        assert self.worker is not None
        pending.stream = Stream(number, pending.future, self.worker, pending.deadline, self.timeout)
        self._streams[number] = pending

    def _piece(self, worker: Worker, piece: Piece) -> None:
        if worker is not self.worker:
            return
        pending = self._streams.get(piece.stream)
        if pending is None or pending.stream is None:
            raise BadFrame(f"a piece of stream {piece.stream}, which there is not")
        self.since = self._now()
        pending.stream.feed(piece)
        if piece.last:
            del self._streams[piece.stream]

    def sweep(self, now: float) -> bool:
        """Refuse what is past its deadline; whether the worker hangs, and has to be replaced."""
        for pending in self._calls:
            if pending.deadline <= now:
                pending.fail(TooLate())
        stuck = self._sweep_streams(now)
        return bool(self._calls and now - self.since > self.timeout) or stuck >= _STUCK

    def _sweep_streams(self, now: float) -> int:
        """End the streams that say nothing for too long, and count those that then do not end."""
        stuck = 0
        for pending in list(self._streams.values()):
            stream = pending.stream
            assert stream is not None
            if stream.due <= now and stream.left:
                stuck += 1
            elif stream.due <= now:
                stream.fail(TooLate())
                stream.leave()
            elif not stream.begun and pending.future.done():
                stream.leave()
        return stuck

    def empty(self) -> list[Pending]:
        """Take out all that its worker has not answered, oldest first. Only the first frame can have ended it."""
        self.worker = None
        self._end_linger()
        left = []
        for pending in self._streams.values():
            if pending.stream is not None and pending.stream.begun:
                pending.stream.fail(Crashed())
            else:
                left.append(pending)
        for place, pending in enumerate(self._calls):
            if place >= self._frames[0]:
                pending.attempts -= 1
            left.append(pending)
        for pending in left:
            pending.worker = None
        self._calls.clear()
        self._frames.clear()
        self._frame_calls, self._frame_seconds = 0, 0.0
        self._streams.clear()
        return left


def _took(reply: Reply) -> float:
    """What a worker says that it took, in seconds."""
    return (reply.decode_us + reply.predict_us + reply.encode_us) * 1e-6
