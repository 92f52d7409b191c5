"""The workers of one model version and the queue in front of them.

Batching has no timer: whatever waits when a worker is free is its next batch, up to what its pace allows (pace.py). A
worker that ends is started again and its requests are tried once more, each alone; one that hangs is replaced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from legion import wire
from legion.errors import LegionError
from legion.gateway.dispatch.backlog import Backlog
from legion.gateway.dispatch.pace import BatchPace, Pace
from legion.gateway.dispatch.pending import Crashed, Pending, QueueFull, Receive
from legion.gateway.dispatch.slot import Slot
from legion.gateway.dispatch.sweeper import Sweeper
from legion.gateway.dispatch.worker import StartWorker
from legion.gateway.limits import Limits
from legion.gateway.metrics import Meter
from legion.gateway.supervision import supervise

_logger = logging.getLogger("legion.gateway")

# So many waiting requests are worth a batch while the loop's turn still brings more.
_ENOUGH = 8
_BACKOFF = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)


class Pool:
    """Answers requests for one model version. `start` before the first, `stop` after the last.

    `name` is for the log; `start_worker` starts one of the workers.
    """

    def __init__(self, name: str, start_worker: StartWorker, *, workers: int, limits: Limits, meter: Meter) -> None:
        self.name = name
        self.meter = meter
        self.report = wire.Report()
        self._limits = limits
        self._start_worker = start_worker
        self._loop = asyncio.get_running_loop()
        self._merges = False
        self._pace = Pace(limits, workers)
        self._slots = [Slot(self._loop.time, limits.timeout, self._answered) for _ in range(workers)]
        self._backlog = Backlog()
        self._sweeper = Sweeper(self._sweep)
        self._keepers: list[asyncio.Task[None]] = []
        self._ends: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._flush_due = False
        self._emptied: asyncio.Future[None] | None = None

    @property
    def limits(self) -> Limits:
        """What is let in; may be set at any time."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._pace.relearn(limits)
        for slot in self._slots:
            slot.timeout = limits.timeout

    @property
    def ready(self) -> bool:
        """Whether a worker is there to answer."""
        return any(slot.worker is not None for slot in self._slots)

    @property
    def waiting(self) -> int:
        """How many requests wait for a worker."""
        return len(self._backlog.waiting)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [slot.worker.pid for slot in self._slots if slot.worker is not None]

    async def start(self) -> None:
        """Start every worker; returns when all are warm. Raises WorkerError if one cannot be started."""
        try:
            async with asyncio.TaskGroup() as starts:
                for slot in self._slots:
                    starts.create_task(self._fill(slot))
        except BaseException as error:
            await self.stop()
            raise (error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error) from None
        self._keepers = [supervise("worker keeper", partial(self._keep, slot)) for slot in self._slots]
        # Requests may have come before the first worker was ready.
        self._flush()

    async def _fill(self, slot: Slot) -> None:
        worker = await self._start_worker(self._limits.start)
        self.report = worker.report
        if worker.report.merges != self._merges:
            self._merges = worker.report.merges
            self._pace = (BatchPace if self._merges else Pace)(self._limits, len(self._slots))
        slot.fill(worker)

    async def drained(self) -> None:
        """Wait until every request that was taken in is settled; for when no more are submitted."""
        while not self._empty:
            self._emptied = self._emptied or self._loop.create_future()
            await asyncio.shield(self._emptied)

    @property
    def _empty(self) -> bool:
        return not self._backlog.waiting and not any(slot.owes for slot in self._slots)

    def _tell_if_empty(self) -> None:
        if self._emptied is not None and self._empty:
            self._emptied.set_result(None)
            self._emptied = None

    async def stop(self) -> None:
        """End every worker; whatever still waits is refused."""
        self._stopped = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._sweeper.stop()
        self._backlog.fail(Crashed())
        workers = [slot.worker for slot in self._slots if slot.worker is not None]
        for slot in self._slots:
            for pending in slot.empty():
                pending.fail(Crashed())
        self._tell_if_empty()
        for worker in workers:
            self._end(worker.stop())
        await asyncio.gather(*self._ends)

    def submit(self, call: wire.Call, receive: Receive | None, deadline: float) -> Pending:
        """Queue a request; await its `future`. `deadline` is in loop time, in seconds. Raises QueueFull or Crashed."""
        waiting = self._backlog.waiting
        if len(waiting) >= self._pace.room:
            raise QueueFull(self._pace.retry_after)
        if self._stopped:
            raise Crashed
        call.deadline = deadline
        pending = Pending(call, self._loop.create_future(), receive, self._loop.time())
        waiting.append(pending)
        if len(waiting) >= _ENOUGH:
            self._flush(ahead=True)
        elif not self._flush_due:
            # The rest of this turn of the loop may bring more; they go in one frame.
            self._flush_due = True
            self._loop.call_soon(self._turn_over)
        self._sweeper.wake()
        return pending

    def _turn_over(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush(self, *, ahead: bool = False) -> None:
        """Give what waits to the workers that are free; with `ahead`, also to one that soon will be."""
        waiting = self._backlog.waiting
        while waiting:
            free = [slot for slot in self._slots if slot.takes(len(waiting))]
            if not free and ahead and self._pace.ahead:
                free = [slot for slot in self._slots if slot.frames == 1][:1]
            if not free:
                return
            # An even share of what waits where several workers are free.
            share = min(self._pace.size, -(-len(waiting) // len(free)))
            batch = self._backlog.take(share, self._limits.batch_bytes, self._loop.time())
            if batch:
                self._post(free[0], batch)

    def _post(self, slot: Slot, batch: list[Pending]) -> None:
        try:
            slot.post(batch)
        except Exception:
            _logger.exception("%s: a worker cannot be given requests and is replaced", self.name)
            self._replace(slot)

    def _answered(self, slot: Slot, calls: int, seconds: float) -> None:
        """A frame was answered. Its callers have their answers before the next one is made up."""
        self._pace.learn(calls, seconds)
        self.meter.batch(calls)
        if self._emptied is not None:
            self._tell_if_empty()
        if slot.frames or not self._pace.linger:
            if self._backlog.waiting:
                self._flush(ahead=not self._merges)
            return
        # Those who were answered now may call again at once, and are waited for a little: else callers fall into two
        # groups, each of which waits for the other's batches.
        slot.expects = min(self._pace.size, calls + len(self._backlog.waiting))
        # Their answers are written in the loop's next turn, which may take as long; the time counts from then on.
        slot.linger = self._loop.call_soon(self._linger, slot, 1)
        self._flush()

    def _linger(self, slot: Slot, turns: int) -> None:
        if turns:
            slot.linger = self._loop.call_soon(self._linger, slot, turns - 1)
        else:
            slot.linger = self._loop.call_later(self._pace.linger, self._linger_over, slot)

    def _linger_over(self, slot: Slot) -> None:
        slot.expects = 0
        self._flush()

    def _sweep(self, now: float) -> bool:
        """Refuse what is past its deadline, watch who waits long, replace who hangs; whether there is more to do."""
        for slot in self._slots:
            try:
                hangs = slot.sweep(now)
            except Exception:
                _logger.exception("%s: a worker cannot be told that callers left and is replaced", self.name)
                hangs = True
            if hangs and slot.worker is not None:
                self.meter.hangs += 1
                _logger.warning("%s: worker %d hangs and is replaced", self.name, slot.worker.pid)
                self._pace.relearn(self._limits)
                self._replace(slot)
        self._backlog.sweep(now, self._pace, min(slot.since for slot in self._slots))
        for pending in self._backlog.waiting:
            if pending.arrived < now:
                pending.watch()
        self._tell_if_empty()
        return bool(self._backlog.waiting) or any(slot.busy for slot in self._slots)

    def _replace(self, slot: Slot) -> None:
        """End the worker; its keeper then fills the slot again."""
        if slot.worker is not None:
            self._end(slot.worker.kill())

    def _end(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """End a worker in a task that `stop` waits for."""
        task = self._loop.create_task(self._ended(work))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        return task

    async def _ended(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            _logger.exception("%s: a worker could not be ended", self.name)

    async def _keep(self, slot: Slot) -> None:
        """Fill the slot again whenever its worker ends."""
        while True:
            if slot.worker is None:
                await self._refill(slot)
            assert slot.worker is not None
            await asyncio.shield(slot.worker.lost)
            ended = slot.worker
            self.meter.restarts += 1
            _logger.warning("%s: worker %d ended and is started again", self.name, ended.pid)
            self._retry(slot.empty())
            self._tell_if_empty()
            await asyncio.shield(self._end(ended.kill()))

    def _retry(self, calls: list[Pending]) -> None:
        again = []
        for pending in calls:
            if pending.attempts > 1:
                pending.fail(Crashed())
            elif not pending.future.done():
                pending.alone = pending.attempts > 0
                again.append(pending)
        self._backlog.put_back(again)
        self._flush()

    async def _refill(self, slot: Slot) -> None:
        tries = 0
        while True:
            try:
                await self._fill(slot)
            except Exception as error:
                delay = _BACKOFF[min(tries, len(_BACKOFF) - 1)]
                foreign = None if isinstance(error, LegionError) else error
                _logger.error("%s: %s; trying again in %g s", self.name, error, delay, exc_info=foreign)
                tries += 1
                await asyncio.sleep(delay)
            else:
                self._flush()
                return
