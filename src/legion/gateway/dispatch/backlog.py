"""The requests of one model version that wait for a worker, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from legion.gateway.dispatch.pace import Pace
from legion.gateway.dispatch.pending import Pending, QueueFull, TooLate


class Backlog:
    """Those who left and those who are late go no further than this. `waiting` is to be read, and added to."""

    def __init__(self) -> None:
        self.waiting: deque[Pending] = deque()

    def put_back(self, again: Iterable[Pending]) -> None:
        """Put these, in their order, before all others."""
        self.waiting.extendleft(reversed(list(again)))

    def take(self, calls: int, size: int, now: float) -> list[Pending]:
        """The next batch: at most so many calls, and about `size` bytes."""
        waiting = self.waiting
        batch: list[Pending] = []
        while waiting and len(batch) < calls and size > 0:
            pending = waiting[0]
            if pending.alone and batch:
                break
            waiting.popleft()
            if pending.future.done():
                continue
            if pending.call.deadline <= now:
                pending.fail(TooLate())
                continue
            batch.append(pending)
            size -= len(pending.call.body)
            if pending.alone:
                break
        return batch

    def sweep(self, now: float, pace: Pace, since: float) -> None:
        """Refuse whoever is late or cannot be answered in time, and forget all who were answered for or left.

        `since` is when the worker that will be free next began with what it has.
        """
        waiting = self.waiting
        stay: list[Pending] = []
        for pending in waiting:
            deadline = pending.call.deadline
            if deadline <= now:
                pending.fail(TooLate())
            elif pace.answered_at(len(stay), now, since) > deadline:
                pending.fail(QueueFull(pace.retry_after))
            if not pending.future.done():
                stay.append(pending)
        if len(stay) < len(waiting):
            waiting.clear()
            waiting.extend(stay)

    def fail(self, error: Exception) -> None:
        """Refuse all."""
        while self.waiting:
            self.waiting.popleft().fail(error)
