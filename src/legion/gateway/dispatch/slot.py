"""One place for a replica, which outlives the processes that fill it, and the batches that are with it."""

from __future__ import annotations

from collections import deque

from legion.gateway.dispatch.pending import Crashed, Pending
from legion.replica import Replica
from legion.wire import Reply

# A batch that takes less than this is over before the gateway comes back to its worker, which would then
# stand idle: such a worker is given the next batch ahead. Slower models gain more from a larger batch.
_QUICK_US = 2000
_AHEAD = 2


class Slot:
    """`batches` are those posted and not answered, oldest first; `streams` the requests answered in pieces."""

    __slots__ = ("batches", "depth", "replica", "streams")

    def __init__(self) -> None:
        self.replica: Replica | None = None
        self.batches: deque[list[Pending]] = deque()
        self.streams: dict[int, Pending] = {}
        self.depth = 1

    @property
    def owes(self) -> bool:
        """Whether somebody still waits for its worker."""
        return bool(self.batches) or any(one.stream is None or not one.stream.left for one in self.streams.values())

    @property
    def free(self) -> bool:
        """Whether it has nothing to do."""
        return self.replica is not None and not self.batches

    @property
    def takes(self) -> bool:
        """Whether it may be given a batch now."""
        return self.replica is not None and len(self.batches) < self.depth

    def learn(self, reply: Reply) -> None:
        """Decide by the last batch's time whether to give the next one ahead."""
        quick = reply.decode_us + reply.predict_us + reply.encode_us < _QUICK_US
        self.depth = _AHEAD if quick else 1

    def empty(self) -> list[Pending]:
        """Take out all that its worker has not answered. Only the first batch can have ended the worker."""
        left = [pending for batch in self.batches for pending in batch]
        for batch in list(self.batches)[1:]:
            for pending in batch:
                pending.attempts -= 1
        self.batches.clear()
        for pending in self.streams.values():
            if pending.stream is not None and pending.stream.begun:
                pending.stream.fail(Crashed())
            else:
                left.append(pending)
        self.streams.clear()
        return left
