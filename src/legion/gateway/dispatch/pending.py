"""A request that waits for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from legion.gateway.dispatch.stream import Stream
from legion.gateway.dispatch.worker import Worker
from legion.wire import Call, Reply

# ASGI's; None where the connection itself says when its caller leaves.
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Left(Exception):
    """The caller has gone; nobody waits for the answer."""


class Unanswered(Exception):
    """There is no answer; `retry_after` says in how many seconds another try may have one."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__()
        self.retry_after = retry_after


class QueueFull(Unanswered):
    """As many requests wait as may, or as can be answered in time."""


class TooLate(Unanswered):
    """The deadline passed before there was an answer."""


class Crashed(Unanswered):
    """The model's process ended while answering this request, twice, or for good."""


class Pending:
    """`arrived`, `sent` and `deadline` are loop times in seconds; `sent` is 0 until it is with a worker.

    `attempts` counts the workers that were given it; after the first it goes `alone`, in a batch of one, so
    that whatever ended a worker takes no other request with it again. `stream` is there for a streamed answer.
    """

    __slots__ = (
        "alone",
        "arrived",
        "attempts",
        "call",
        "future",
        "number",
        "receive",
        "sent",
        "stream",
        "watcher",
        "worker",
    )

    def __init__(self, call: Call, future: asyncio.Future[Reply], receive: Receive | None, arrived: float) -> None:
        self.call = call
        self.future = future
        self.receive = receive
        self.arrived = arrived
        self.sent = 0.0
        self.attempts = 0
        self.alone = False
        # Who has it behind other calls, and under which number.
        self.worker: Worker | None = None
        self.number = 0
        self.stream: Stream | None = None
        self.watcher: asyncio.Task[None] | None = None

    @property
    def deadline(self) -> float:
        """When nobody wants the answer any more."""
        return self.call.deadline

    def settle(self, reply: Reply) -> None:
        """Settle with the worker's answer, unless it is settled."""
        if self.future.done():
            return
        if reply.late:
            self.future.set_exception(TooLate())
        else:
            self.future.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Settle with an error, unless it is settled. Where a worker has it and has not begun, it need not."""
        if not self.future.done():
            self.future.set_exception(error)
            if self.worker is not None:
                self.worker.drop(self.number)

    def watch(self) -> None:
        """Notice a caller who leaves while waiting. Costs a task, so only those that wait long get one."""
        if self.watcher is None and self.receive is not None and not self.future.done():
            self.watcher = asyncio.get_running_loop().create_task(self._watch(self.receive))
            self.future.add_done_callback(self._unwatch)

    async def _watch(self, receive: Receive) -> None:
        message = await receive()
        if message["type"] == "http.disconnect":
            self.fail(Left())

    def _unwatch(self, future: asyncio.Future[Reply]) -> None:
        if self.watcher is not None:
            self.watcher.cancel()
