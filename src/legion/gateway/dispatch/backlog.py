"""The requests of one model version that wait for a worker, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from legion.gateway.dispatch.pace import Pace
from legion.gateway.dispatch.pending import Pending, QueueFull, TooLate


class Backlog:
    """Those who left and those who are late go no further than this."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._waiting)

    def add(self, pending: Pending) -> None:
        """Put it at the end."""
        self._waiting.append(pending)

    def put_back(self, again: Iterable[Pending]) -> None:
        """Put these, in their order, before all others."""
        self._waiting.extendleft(reversed(list(again)))

    def take(self, calls: int, size: int, now: float) -> list[Pending]:
        """The next batch: at most so many calls, and about `size` bytes."""
        waiting = self._waiting
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
        waiting = self._waiting
        for position, pending in enumerate(waiting):
            deadline = pending.call.deadline
            if deadline <= now:
                pending.fail(TooLate())
            elif pace.answered_at(position, now, since) > deadline:
                pending.fail(QueueFull(pace.retry_after))
        if any(pending.future.done() for pending in waiting):
            self._waiting = deque(pending for pending in waiting if not pending.future.done())

    def fail(self, error: Exception) -> None:
        """Refuse all."""
        while self._waiting:
            self._waiting.popleft().fail(error)
