"""Faults that the gateway once had, put back one at a time: what the simulation is worth is that it finds each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_worker import FakeWorker

from legion import wire
from legion.errors import LegionError
from legion.gateway.deployments import provisioner, variant
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.dispatch import pool, slot
from legion.gateway.dispatch.backlog import Backlog
from legion.gateway.dispatch.pace import Pace
from legion.gateway.dispatch.pending import Pending, TooLate
from legion.replica import Replica

Mutation = Callable[[pytest.MonkeyPatch], None]


def _unsupervised(name: str, run: Callable[[], Any], **options: Any) -> asyncio.Task[None]:
    """A task as any other: what ends it, ends it."""

    async def forgotten() -> None:
        try:
            await run()
        except Exception:
            return

    return asyncio.get_running_loop().create_task(forgotten())


def everything_in_one_frame(patch: pytest.MonkeyPatch) -> None:
    """Up to 256 requests go to a worker at once, merged or not, and are answered at once."""
    learn = Pace.learn

    def greedy(self: Pace, calls: int, seconds: float) -> None:
        learn(self, calls, seconds)
        self.size = 256

    patch.setattr(Pace, "learn", greedy)
    patch.setattr(FakeWorker, "obstinate", True)


def late_is_hanging(patch: pytest.MonkeyPatch) -> None:
    """A worker whose request is past its deadline is taken to hang, whatever it answers meanwhile."""
    sweep = slot.Slot.sweep

    def hasty(self: slot.Slot, now: float) -> bool:
        return sweep(self, now) or any(pending.deadline <= now for pending in self._calls)

    patch.setattr(slot.Slot, "sweep", hasty)


def workers_are_not_told_who_left(patch: pytest.MonkeyPatch) -> None:
    """Whoever leaves while a worker has their request behind others is worked for all the same."""
    patch.setattr(Replica, "drop", lambda self, number: None)


def those_who_left_are_executed(patch: pytest.MonkeyPatch) -> None:
    """Requests that wait are not looked at when they are handed over."""

    def take(self: Backlog, calls: int, size: int, now: float) -> list[Pending]:
        return [self.waiting.popleft() for _ in range(min(calls, len(self.waiting)))]

    patch.setattr(Backlog, "take", take)


def only_the_front_is_swept(patch: pytest.MonkeyPatch) -> None:
    """Deadlines are looked at from the front of the queue, as if it were in their order."""

    def sweep(self: Backlog, now: float, pace: Pace, since: float) -> None:
        while self.waiting and self.waiting[0].call.deadline <= now:
            self.waiting.popleft().fail(TooLate())

    patch.setattr(Backlog, "sweep", sweep)


def an_oserror_ends_a_keeper(patch: pytest.MonkeyPatch) -> None:
    """The task that fills a worker's place again ends with the first error that nobody thought of."""

    async def refill(self: pool.Pool, place: slot.Slot) -> None:
        while True:
            try:
                return await self._fill(place)
            except LegionError:
                await asyncio.sleep(1.0)

    patch.setattr(pool.Pool, "_refill", refill)
    patch.setattr(pool, "supervise", _unsupervised)
    patch.setattr("fake_worker.SimulatedReplica.start", classmethod(_start_as_it_was))


async def _start_as_it_was(cls: type[Any], plan: wire.Plan, python: Any, *, start_timeout: float) -> Any:
    """A start whose OSError is its caller's."""
    replica = cls()
    try:
        await replica._spawn(plan, python)
        replica.report = wire.decoder(wire.Report).decode(await asyncio.wait_for(replica._first, start_timeout))
    except BaseException:
        await replica.kill()
        raise
    replica._first = None
    return replica


def the_provisioner_ends_for_good(patch: pytest.MonkeyPatch) -> None:
    """A line that is too long, or no message, ends the task that keeps the provisioner."""

    def take(self: Any, line: bytes) -> None:
        self._tell(self._orders.hear(self._decode(line)))

    run = provisioner.Provisioner._run

    async def fragile(self: Any) -> str:
        try:
            return await run(self)
        finally:
            if self._fault is not None:
                raise self._fault

    def noting(self: Any, line: bytes) -> None:
        try:
            take(self, line)
        except Exception as error:
            self._fault = error
            raise

    patch.setattr(provisioner.Provisioner, "_fault", None, raising=False)
    patch.setattr(provisioner.Provisioner, "_take", noting)
    patch.setattr(provisioner.Provisioner, "_run", fragile)
    patch.setattr(provisioner, "supervise", _unsupervised)


def a_start_that_neither_succeeds_nor_fails(patch: pytest.MonkeyPatch) -> None:
    """Only errors of our own are the end of a start."""
    named = variant.Variant._named

    def only_ours(self: variant.Variant, error: Exception, delivery: Any) -> LegionError:
        if not isinstance(error, LegionError):
            raise error
        return named(self, error, delivery)

    patch.setattr(variant.Variant, "_named", only_ours)


def frames_are_believed(patch: pytest.MonkeyPatch) -> None:
    """Replies go to whoever waits, however many there are and whatever they are numbered."""

    def take(self: Replica, answers: wire.Answers) -> None:
        if self.on_replies is not None:
            self.on_replies(answers.replies)

    patch.setattr(Replica, "_take", take)


def what_failed_once_is_not_tried_again(patch: pytest.MonkeyPatch) -> None:
    """A start that failed for want of files leaves its variant without a release."""
    patch.setattr(variant.Variant, "_retry_later", lambda self, delivery: None)
    patch.setattr(variant.Variant, "_refuse", lambda self, error, delivery: None)


def tried_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A request that ends workers is given to one after another."""

    def retry(self: pool.Pool, calls: list[Pending]) -> None:
        self._backlog.put_back(pending for pending in calls if not pending.future.done())
        self._flush()

    patch.setattr(pool.Pool, "_retry", retry)


def answers_are_mixed_up(patch: pytest.MonkeyPatch) -> None:
    """The replies of a frame are given to its callers in another order."""
    replies = slot.Slot._replies
    patch.setattr(slot.Slot, "_replies", lambda self, worker, some: replies(self, worker, some[::-1]))


def a_drain_that_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    """The release before is ended with requests in hand."""

    async def drained(self: pool.Pool) -> None:
        """At once."""

    patch.setattr(pool.Pool, "drained", drained)


def the_old_release_goes_on(patch: pytest.MonkeyPatch) -> None:
    """A deployment gives requests to the release that it had first."""
    choose = Deployment.choose

    def remembered(self: Deployment, headers: Any) -> Any:
        self.__dict__.setdefault("remembered", choose(self, headers))
        return self.__dict__["remembered"]

    patch.setattr(Deployment, "choose", remembered)


def a_stopped_pool_takes_requests(patch: pytest.MonkeyPatch) -> None:
    """Requests that come while the first release is given up wait for nobody."""
    patch.setattr(pool.Pool, "_stopped", property(lambda self: False, lambda self, value: None), raising=False)


MUTATIONS: tuple[Mutation, ...] = (
    everything_in_one_frame,
    late_is_hanging,
    workers_are_not_told_who_left,
    those_who_left_are_executed,
    only_the_front_is_swept,
    an_oserror_ends_a_keeper,
    the_provisioner_ends_for_good,
    a_start_that_neither_succeeds_nor_fails,
    frames_are_believed,
    what_failed_once_is_not_tried_again,
    tried_for_ever,
    answers_are_mixed_up,
    a_drain_that_does_not_wait,
    the_old_release_goes_on,
    a_stopped_pool_takes_requests,
)
