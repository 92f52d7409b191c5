"""The replicas of one model version and the queue in front of them.

Batching has no timer: whatever waits when a worker is free is its next batch. A worker that ends is started
again and its requests are tried once more, each alone; one that hangs past a deadline is replaced.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from pathlib import Path

from legion import wire
from legion.errors import LegionError
from legion.gateway.dispatch.pending import Crashed, Pending, QueueFull, Receive, TooLate
from legion.gateway.dispatch.slot import Slot
from legion.gateway.dispatch.stream import Stream
from legion.gateway.limits import Limits
from legion.gateway.metrics import Meter
from legion.replica import Replica

_logger = logging.getLogger("legion.gateway")

# How often waiting requests are looked over for deadlines and callers who left, while there are any.
_SWEEP = 0.05
# So many waiting requests are worth a batch while the loop's turn still brings more.
_ENOUGH = 8
# A worker is replaced when so many of its streams say nothing, though nobody waits for them any more.
_STUCK = wire.STREAMS_AT_ONCE // 2
_BACKOFF = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)


class Pool:
    """Answers requests for one model version. `start` before the first, `stop` after the last."""

    def __init__(self, plan: wire.Plan, python: Path, *, replicas: int, limits: Limits, meter: Meter) -> None:
        self.plan = plan
        self.limits = limits
        self.meter = meter
        self.report = wire.Report()
        self._python = python
        self._slots = [Slot() for _ in range(replicas)]
        self._queue: deque[Pending] = deque()
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._flush_due = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._emptied: asyncio.Future[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether a worker is there to answer."""
        return any(slot.replica is not None for slot in self._slots)

    @property
    def waiting(self) -> int:
        """How many requests wait for a worker."""
        return len(self._queue)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [slot.replica.pid for slot in self._slots if slot.replica is not None]

    async def start(self) -> None:
        """Start every replica; returns when all are warm. Raises WorkerError if one cannot be started."""
        try:
            async with asyncio.TaskGroup() as starts:
                for slot in self._slots:
                    starts.create_task(self._fill(slot))
        except BaseException as error:
            await self.stop()
            raise (error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error) from None
        for slot in self._slots:
            assert slot.replica is not None
            self.report = slot.replica.report
            self._keepers.append(self._loop.create_task(self._keep(slot)))
        # Requests may have come before the first worker was ready.
        self._flush()

    async def _fill(self, slot: Slot) -> None:
        slot.replica = await self._replica(slot)

    async def _replica(self, slot: Slot) -> Replica:
        replica = await Replica.start(self.plan, self._python, start_timeout=self.limits.start)
        replica.on_piece = partial(self._piece, slot)
        return replica

    async def drained(self) -> None:
        """Wait until every request that was taken in is settled; for when no more are submitted."""
        while not self._empty:
            self._emptied = self._emptied or self._loop.create_future()
            await asyncio.shield(self._emptied)

    @property
    def _empty(self) -> bool:
        return not self._queue and not any(slot.owes for slot in self._slots)

    def _tell_if_empty(self) -> None:
        if self._emptied is not None and self._empty:
            self._emptied.set_result(None)
            self._emptied = None

    async def stop(self) -> None:
        """End every worker; whatever still waits is refused."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        while self._queue:
            self._queue.popleft().fail(Crashed())
        self._tell_if_empty()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*(slot.replica.stop() for slot in self._slots if slot.replica is not None))

    def submit(self, call: wire.Call, receive: Receive | None, deadline: float) -> Pending:
        """Queue a request; await its `future`. `deadline` is in loop time, in seconds. Raises QueueFull."""
        if len(self._queue) >= self.limits.queue:
            raise QueueFull
        now = self._loop.time()
        pending = Pending(call, self._loop.create_future(), receive, now, deadline)
        queue = self._queue
        queue.append(pending)
        if len(queue) >= _ENOUGH:
            self._flush(ahead=True)
        elif not self._flush_due:
            # The rest of this turn of the loop may bring more; they go in one frame.
            self._flush_due = True
            self._loop.call_soon(self._turn_over)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
        return pending

    def _turn_over(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush(self, *, ahead: bool = False) -> None:
        """Give what waits to the workers that are free; with `ahead`, also to one that soon will be."""
        while self._queue:
            free = [slot for slot in self._slots if slot.free]
            if not free and ahead:
                free = [slot for slot in self._slots if slot.takes][:1]
            if not free:
                return
            batch = self._take(len(free))
            if not batch:
                return
            self._post(free[0], batch)

    def _take(self, sharers: int) -> list[Pending]:
        """The next batch, an even share of what waits where several workers are free."""
        queue, limits = self._queue, self.limits
        share = min(limits.batch, -(-len(queue) // sharers))
        batch: list[Pending] = []
        size = 0
        while queue and len(batch) < share and size < limits.batch_bytes:
            pending = queue.popleft()
            if pending.future.done():
                continue
            if pending.alone and batch:
                queue.appendleft(pending)
                break
            batch.append(pending)
            size += len(pending.call.body)
            if pending.alone:
                break
        return batch

    def _post(self, slot: Slot, batch: list[Pending]) -> None:
        assert slot.replica is not None
        now = self._loop.time()
        for pending in batch:
            pending.sent = now
            pending.attempts += 1
        slot.batches.append(batch)

        def settle(replies: wire.Replies) -> None:
            slot.batches.popleft()
            slot.learn(replies[0])
            if self._queue:
                self._flush()
            self.meter.batch(len(batch))
            for pending, reply in zip(batch, replies, strict=True):
                if reply.stream:
                    self._stream(slot, pending, reply.stream)
                elif not pending.future.done():
                    pending.future.set_result(reply)
            if self._emptied is not None:
                self._tell_if_empty()

        slot.replica.post([pending.call for pending in batch], settle)

    def _stream(self, slot: Slot, pending: Pending, number: int) -> None:
        """The answer of this request comes in pieces."""
        assert slot.replica is not None
        pending.stream = Stream(number, pending.future, slot.replica, pending.deadline, self.limits.timeout)
        slot.streams[number] = pending

    def _piece(self, slot: Slot, piece: wire.Piece) -> None:
        stream = slot.streams[piece.stream].stream
        assert stream is not None
        stream.feed(piece)
        if piece.last:
            del slot.streams[piece.stream]
            self._tell_if_empty()

    def _sweep(self) -> None:
        """Refuse what is past its deadline, watch who waits long, replace who hangs."""
        self._sweeper = None
        now = self._loop.time()
        busy = False
        for slot in self._slots:
            if not (slot.batches or slot.streams):
                continue
            busy = True
            late = [pending for batch in slot.batches for pending in batch if pending.deadline <= now]
            stuck = self._sweep_streams(slot, now)
            if len(stuck) >= _STUCK:
                late += stuck
            for pending in late:
                pending.fail(TooLate())
            if late and slot.replica is not None:
                _logger.warning("%s: worker %d hangs past a deadline and is replaced", self.plan.name, slot.replica.pid)
                self.meter.hangs += 1
                self._loop.create_task(slot.replica.kill())
        while self._queue and (self._queue[0].deadline <= now or self._queue[0].future.done()):
            self._queue.popleft().fail(TooLate())
        for pending in self._queue:
            if now - pending.arrived < _SWEEP:
                break
            pending.watch()
        self._tell_if_empty()
        if busy or self._queue:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def _sweep_streams(self, slot: Slot, now: float) -> list[Pending]:
        """End the streams that say nothing for too long; those that then do not end are given back."""
        stuck = []
        for pending in slot.streams.values():
            stream = pending.stream
            assert stream is not None
            if stream.due <= now and stream.left:
                stuck.append(pending)
            elif stream.due <= now:
                stream.fail(TooLate())
                stream.leave()
            elif not stream.begun and pending.future.done():
                stream.leave()
        return stuck

    async def _keep(self, slot: Slot) -> None:
        """Fill the slot again whenever its worker ends."""
        while True:
            assert slot.replica is not None
            await asyncio.shield(slot.replica.lost)
            ended = slot.replica
            slot.replica = None
            left = slot.empty()
            await ended.kill()
            self.meter.restarts += 1
            _logger.warning("%s: worker %d ended and is started again", self.plan.name, ended.pid)
            self._retry(left)
            self._tell_if_empty()
            slot.replica = await self._restart(slot)
            self._flush()

    def _retry(self, batch: list[Pending]) -> None:
        for pending in reversed(batch):
            if pending.future.done():
                continue
            if pending.attempts > 1:
                pending.fail(Crashed())
                continue
            pending.alone = pending.attempts > 0
            self._queue.appendleft(pending)
        self._flush()

    async def _restart(self, slot: Slot) -> Replica:
        tries = 0
        while True:
            try:
                return await self._replica(slot)
            except LegionError as error:
                delay = _BACKOFF[min(tries, len(_BACKOFF) - 1)]
                _logger.error("%s; trying again in %g s", error, delay)
                tries += 1
                await asyncio.sleep(delay)
