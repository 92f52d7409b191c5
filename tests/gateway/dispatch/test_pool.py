"""A pool and its workers: who is given what when, what a worker's end costs, and that nothing outlives the pool.

Every worker is a StubWorker, which answers when the test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from virtual_loop import on_virtual_loop

from legion import wire
from legion.errors import WorkerError
from legion.gateway.dispatch.pending import Crashed, Left, Pending, QueueFull, Receive, TooLate
from legion.gateway.dispatch.pool import Pool
from legion.gateway.dispatch.sweeper import SWEEP
from legion.gateway.limits import Limits
from legion.gateway.metrics import Meter
from legion.wire import Piece, Reply
from stub_worker import StubWorker

QUICK = 0.00005
LIMITS = Limits(timeout=10.0, start=30.0)


class House:
    """A pool, and its workers in the order of their starts.

    The next starts take the seconds of `delays` and raise the errors of `faults`, None for those that succeed.
    """

    def __init__(self, workers: int = 1, limits: Limits = LIMITS, *, merges: bool = False, ending: float = 0.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = limits
        self.merges = merges
        self.workers: list[StubWorker] = []
        self.delays: list[float] = []
        self.faults: list[Exception | None] = []
        # When each start was asked for, and the seconds that it was given.
        self.starts: list[tuple[float, float]] = []
        self.meter = Meter()
        self.pool = Pool("wine", self._start, workers=workers, limits=limits, meter=self.meter)
        self._ending = ending

    async def _start(self, seconds: float) -> StubWorker:
        self.starts.append((self.loop.time(), seconds))
        fault = self.faults.pop(0) if self.faults else None
        await asyncio.sleep(self.delays.pop(0) if self.delays else 0.0)
        if fault is not None:
            raise fault
        self.workers.append(StubWorker(merges=self.merges, ending=self._ending))
        return self.workers[-1]

    def submit(self, bodies: bytes, receive: Receive | None = None) -> list[Pending]:
        """A request for each letter."""
        deadline = self.loop.time() + self.limits.timeout
        calls = [wire.Call(wire.MLFLOW, bodies[place : place + 1]) for place in range(len(bodies))]
        requests = [self.pool.submit(call, receive, deadline) for call in calls]
        for one in requests:
            # Not every test looks at every refusal.
            one.future.add_done_callback(asyncio.Future.exception)
        return requests


async def started(
    workers: int = 1, limits: Limits = LIMITS, *, merges: bool = False, ending: float = 0.0, learnt: float | None = None
) -> House:
    """A pool whose workers are ready. It has learnt from a first call what each takes, if that is given, in seconds."""
    house = House(workers, limits, merges=merges, ending=ending)
    await house.pool.start()
    if learnt is not None:
        house.submit(b"0")
        await asyncio.sleep(learnt)
        house.workers[0].answer(1, learnt)
        house.workers[0].posted.clear()
        # Nobody is waited for any more.
        await asyncio.sleep(1.0)
    return house


async def turn() -> None:
    """The loop's turn is over, and whatever was set off by it."""
    for _ in range(8):
        await asyncio.sleep(0)


def outcomes(requests: list[Pending]) -> list[bytes | type[BaseException] | None]:
    """The body of each answer, the kind of each refusal, or None."""
    found: list[bytes | type[BaseException] | None] = []
    for one in requests:
        error = one.future.exception() if one.future.done() else None
        found.append(type(error) if error else one.future.result().body if one.future.done() else None)
    return found


class TestGiving:
    @on_virtual_loop
    async def test_a_request_is_given_to_a_free_worker_when_the_turn_is_over(self) -> None:
        house = await started()
        requests = house.submit(b"a")
        assert house.workers[0].posted == []
        await turn()
        assert house.workers[0].posted == [[b"a"]]
        house.workers[0].answer()
        assert outcomes(requests) == [b"a"]
        await house.pool.stop()

    @on_virtual_loop
    async def test_what_comes_in_one_turn_shares_a_frame(self) -> None:
        house = await started(learnt=QUICK)
        house.submit(b"abcde")
        await turn()
        assert house.workers[0].posted == [[b"a", b"b", b"c", b"d", b"e"]]
        await house.pool.stop()

    @on_virtual_loop
    async def test_eight_are_given_at_once(self) -> None:
        house = await started(learnt=QUICK)
        house.submit(b"abcdefg")
        assert house.workers[0].posted == []
        house.submit(b"h")
        assert [len(frame) for frame in house.workers[0].posted] == [8]
        await house.pool.stop()

    @on_virtual_loop
    async def test_what_waits_goes_out_when_the_worker_has_answered(self) -> None:
        house = await started(learnt=0.5)
        house.submit(b"a")
        await turn()
        house.submit(b"bc")
        await turn()
        assert house.workers[0].posted == [[b"a"]]
        house.workers[0].answer()
        assert house.workers[0].posted == [[b"a"], [b"b"]]
        assert house.pool.waiting == 1
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_quick_worker_is_given_the_next_frame_ahead_and_no_more(self) -> None:
        house = await started(learnt=QUICK)
        worker = house.workers[0]
        house.submit(b"a")
        await turn()
        house.submit(b"bcdefghi")
        house.submit(b"jklmnopq")
        assert [len(frame) for frame in worker.posted] == [1, 8]
        worker.answer(1)
        assert [len(frame) for frame in worker.posted] == [1, 8, 8]
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_slow_worker_is_given_nothing_ahead(self) -> None:
        house = await started(learnt=0.5)
        house.submit(b"a")
        await turn()
        house.submit(b"bcdefghijk")
        assert house.workers[0].posted == [[b"a"]]
        await house.pool.stop()

    @on_virtual_loop
    async def test_free_workers_share_what_waits(self) -> None:
        house = await started(3, learnt=QUICK)
        house.submit(b"abcdefg")
        await turn()
        assert [[len(frame) for frame in worker.posted] for worker in house.workers] == [[3], [2], [2]]
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_frame_holds_about_so_many_bytes(self) -> None:
        house = await started(limits=Limits(timeout=10.0, batch_bytes=2), learnt=QUICK)
        house.submit(b"abc")
        await turn()
        assert house.workers[0].posted == [[b"a", b"b"]]
        await house.pool.stop()

    @on_virtual_loop
    async def test_requests_may_come_before_the_first_worker_is_ready(self) -> None:
        house = House()
        house.delays = [5.0]
        starting = asyncio.create_task(house.pool.start())
        await turn()
        requests = house.submit(b"a")
        assert not house.pool.ready
        await starting
        house.workers[0].answer()
        assert outcomes(requests) == [b"a"]
        await house.pool.stop()

    @on_virtual_loop
    async def test_frames_are_counted(self) -> None:
        house = await started(learnt=QUICK)
        house.submit(b"abc")
        await turn()
        house.workers[0].answer(2)
        house.workers[0].answer(1)
        assert house.meter.batches.total == 1 + 3
        assert sum(house.meter.batches.counts) == 2
        await house.pool.stop()


class TestMerging:
    @on_virtual_loop
    async def test_whoever_was_answered_is_waited_for_a_little(self) -> None:
        """Three milliseconds at most; half of them would otherwise wait for the other half's batches."""
        house = await started(merges=True, learnt=0.1)
        worker = house.workers[0]
        house.submit(b"ab")
        await asyncio.sleep(0.1)
        assert worker.posted == [[b"a", b"b"]]
        worker.answer(2, 0.1)
        house.submit(b"c")
        await asyncio.sleep(0.002)
        assert worker.posted == [[b"a", b"b"]]
        await asyncio.sleep(0.0011)
        assert worker.posted == [[b"a", b"b"], [b"c"]]
        await house.pool.stop()

    @on_virtual_loop
    async def test_nobody_is_waited_for_once_as_many_are_there(self) -> None:
        house = await started(merges=True, learnt=0.1)
        worker = house.workers[0]
        house.submit(b"ab")
        await asyncio.sleep(0.1)
        worker.answer(2, 0.1)
        house.submit(b"cd")
        await turn()
        assert worker.posted == [[b"a", b"b"], [b"c", b"d"]]
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_worker_that_begins_to_merge_is_learnt_anew(self) -> None:
        house = await started(learnt=QUICK)
        house.merges = True
        house.workers[0].die()
        await turn()
        house.submit(b"abc")
        await turn()
        assert house.workers[1].posted == [[b"a"]]
        assert house.pool.report.merges
        await house.pool.stop()


class TestRefusing:
    @on_virtual_loop
    async def test_no_more_wait_than_the_queue_holds(self) -> None:
        house = await started(limits=Limits(queue=2, timeout=10.0))
        house.submit(b"a")
        await turn()
        house.submit(b"bc")
        with pytest.raises(QueueFull) as refusal:
            house.submit(b"d")
        assert refusal.value.retry_after == 2
        assert house.pool.waiting == 2
        await house.pool.stop()

    @on_virtual_loop
    async def test_no_more_wait_than_can_be_answered_in_time(self) -> None:
        house = await started(learnt=2.0)
        house.submit(b"a")
        await turn()
        house.submit(b"bc")
        with pytest.raises(QueueFull):
            house.submit(b"d")
        await house.pool.stop()

    @on_virtual_loop
    async def test_whoever_waits_too_long_is_refused_by_the_next_sweep(self) -> None:
        house = await started()
        requests = house.submit(b"a")
        await asyncio.sleep(1)
        requests += house.submit(b"b")
        await asyncio.sleep(LIMITS.timeout - 1 + SWEEP)
        assert outcomes(requests) == [TooLate, None]
        await house.pool.stop()

    @on_virtual_loop
    async def test_whoever_cannot_be_answered_in_time_is_refused_before_that(self) -> None:
        """Those behind four calls of two seconds each, when six seconds are left."""
        house = await started(2, learnt=2.0)
        house.submit(b"ab")
        await turn()
        requests = house.submit(b"cdef")
        await asyncio.sleep(6.0 + 2 * SWEEP)
        assert outcomes(requests) == [None, None, QueueFull, QueueFull]
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_caller_who_leaves_while_waiting_is_not_worked_for(self) -> None:
        leaves: asyncio.Future[MutableMapping[str, Any]] = asyncio.get_running_loop().create_future()

        async def receive() -> MutableMapping[str, Any]:
            return await leaves

        house = await started()
        house.submit(b"a")
        await turn()
        requests = house.submit(b"b", receive) + house.submit(b"c")
        await asyncio.sleep(2 * SWEEP)
        leaves.set_result({"type": "http.disconnect"})
        await turn()
        house.workers[0].answer()
        await turn()
        assert outcomes(requests) == [Left, None]
        assert house.workers[0].posted == [[b"a"], [b"c"]]
        await house.pool.stop()

    @on_virtual_loop
    async def test_limits_may_be_set_at_any_time(self) -> None:
        house = await started()
        house.pool.limits = limits = Limits(queue=1, timeout=2.0)
        assert house.pool.limits is limits
        house.limits = Limits(timeout=100.0)
        house.submit(b"a")
        await turn()
        house.submit(b"b")
        with pytest.raises(QueueFull):
            house.submit(b"c")
        # And a worker hangs after two seconds.
        await asyncio.sleep(2 + 2 * SWEEP)
        assert house.meter.hangs == 1
        await house.pool.stop()


class TestWorkersEnd:
    @on_virtual_loop
    async def test_another_worker_takes_its_place_and_its_requests(self) -> None:
        house = await started()
        requests = house.submit(b"a")
        await turn()
        house.workers[0].die()
        await turn()
        assert house.workers[0].killed
        assert house.workers[1].posted == [[b"a"]]
        house.workers[1].answer()
        assert outcomes(requests) == [b"a"]
        assert (house.meter.restarts, house.pool.pids) == (1, [house.workers[1].pid])
        await house.pool.stop()

    @on_virtual_loop
    async def test_what_it_had_begun_is_tried_alone_and_the_rest_as_ever(self) -> None:
        house = await started(learnt=QUICK)
        worker = house.workers[0]
        house.submit(b"ab")
        await turn()
        house.submit(b"cdefghij")
        assert [len(frame) for frame in worker.posted] == [2, 8]
        worker.die()
        await turn()
        second = house.workers[1]
        assert second.posted == [[b"a"]]
        second.answer()
        second.answer()
        assert [b"".join(frame) for frame in second.posted] == [b"a", b"b", b"cdefghij"]
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_request_that_ends_two_workers_is_not_tried_again(self) -> None:
        house = await started(learnt=QUICK)
        requests = house.submit(b"ab")
        await turn()
        house.workers[0].die()
        await turn()
        house.workers[1].die()
        await turn()
        assert outcomes(requests) == [Crashed, None]
        house.workers[2].answer()
        assert outcomes(requests) == [Crashed, b"b"]
        await house.pool.stop()

    @on_virtual_loop
    async def test_another_worker_that_is_free_takes_its_requests_at_once(self) -> None:
        house = await started(2)
        requests = house.submit(b"a")
        await turn()
        house.faults = [WorkerError("it does not start")]
        house.workers[0].die()
        await turn()
        house.workers[1].answer()
        assert outcomes(requests) == [b"a"]
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_start_that_fails_is_tried_again_whatever_was_raised(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        house = await started()
        house.faults = [WorkerError("it does not load"), OSError(24, "Too many open files"), *[ZeroDivisionError()] * 6]
        requests = house.submit(b"a")
        await turn()
        house.workers[0].die()
        await asyncio.sleep(5)
        assert outcomes(requests) == [None]
        await asyncio.sleep(200)
        pauses = [later - earlier for (earlier, _), (later, _) in zip(house.starts[1:], house.starts[2:], strict=False)]
        assert pauses == pytest.approx([0.1, 0.5, 2.0, 5.0, 15.0, 30.0, 30.0, 30.0])
        assert {seconds for _, seconds in house.starts} == {LIMITS.start}
        assert "wine: it does not load; trying again in 0.1 s" in caplog.text
        assert "ZeroDivisionError" in caplog.text
        assert house.pool.ready
        # The pause is short again after a start that succeeded.
        house.faults = [WorkerError("it does not load")]
        house.workers[1].die()
        await asyncio.sleep(0.2)
        assert house.pool.ready
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_worker_that_hangs_is_replaced_once(self) -> None:
        house = await started()
        requests = house.submit(b"a")
        await asyncio.sleep(LIMITS.timeout + 3 * SWEEP)
        assert outcomes(requests) == [TooLate]
        assert house.workers[0].killed
        assert (house.meter.hangs, house.meter.restarts) == (1, 1)
        assert house.pool.pids == [house.workers[1].pid]
        await house.pool.stop()

    @on_virtual_loop
    async def test_what_was_learnt_of_a_model_that_hangs_is_forgotten(self) -> None:
        house = await started(learnt=QUICK)
        house.submit(b"a")
        await asyncio.sleep(LIMITS.timeout + 3 * SWEEP)
        house.submit(b"bcd")
        await turn()
        assert house.workers[1].posted == [[b"b"]]
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_worker_that_cannot_be_given_requests_is_replaced(self, caplog: pytest.LogCaptureFixture) -> None:
        house = await started()
        house.workers[0].broken = ValueError("a frame holds at most 4 GiB")
        requests = house.submit(b"a")
        await turn()
        house.workers[1].answer()
        assert outcomes(requests) == [b"a"]
        assert house.workers[0].killed
        assert "a frame holds at most 4 GiB" in caplog.text
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_worker_that_cannot_be_told_who_left_is_replaced(self) -> None:
        house = await started(learnt=QUICK)
        house.submit(b"ab")
        await turn()
        house.workers[0].broken = ValueError("nobody thought of this")
        await asyncio.sleep(LIMITS.timeout + 2 * SWEEP)
        assert house.workers[0].killed
        assert house.pool.pids == [house.workers[1].pid]
        await house.pool.stop()


class TestStarting:
    @on_virtual_loop
    async def test_it_is_started_when_all_workers_are_there(self) -> None:
        house = House(3)
        house.delays = [5.0, 2.0, 7.0]
        await house.pool.start()
        assert house.loop.time() == 7.0
        assert house.starts == [(0.0, LIMITS.start)] * 3
        assert sorted(house.pool.pids) == [worker.pid for worker in house.workers]
        await house.pool.stop()

    @pytest.mark.parametrize("fault", [WorkerError("it does not load"), OSError(24, "Too many open files")])
    @on_virtual_loop
    async def test_where_one_cannot_be_started_all_are_ended(self, fault: Exception) -> None:
        house = House(3, ending=3.0)
        house.faults = [None, fault]
        house.delays = [0.0, 1.0, 2.0]
        with pytest.raises(type(fault)) as raised:
            await house.pool.start()
        assert raised.value is fault
        assert house.loop.time() == 4.0
        assert [worker.ended for worker in house.workers] == [True]
        assert not house.pool.ready

    @on_virtual_loop
    async def test_a_failed_start_refuses_whoever_waits(self) -> None:
        house = House()
        house.delays, house.faults = [5.0], [WorkerError("it does not load")]
        starting = asyncio.create_task(house.pool.start())
        await turn()
        requests = house.submit(b"ab")
        with pytest.raises(WorkerError):
            await starting
        assert outcomes(requests) == [Crashed, Crashed]
        with pytest.raises(Crashed):
            house.submit(b"c")

    @on_virtual_loop
    async def test_a_start_that_is_given_up_ends_the_workers_that_are_there(self) -> None:
        house = House(2, ending=3.0)
        house.delays = [0.0, 100.0]
        starting = asyncio.create_task(house.pool.start())
        await asyncio.sleep(1)
        assert house.pool.ready
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert house.loop.time() == 4.0
        assert [(worker.stopped, worker.ended) for worker in house.workers] == [(True, True)]


class TestStopping:
    @on_virtual_loop
    async def test_whoever_waits_or_is_with_a_worker_is_refused(self) -> None:
        house = await started()
        requests = house.submit(b"a")
        await turn()
        requests += house.submit(b"bc")
        await house.pool.stop()
        assert outcomes(requests) == [Crashed] * 3
        with pytest.raises(Crashed):
            house.submit(b"d")
        assert not house.pool.ready

    @on_virtual_loop
    async def test_it_waits_until_every_worker_has_ended(self) -> None:
        house = await started(2, ending=3.0)
        await house.pool.stop()
        assert house.loop.time() == 3.0
        assert all(worker.stopped and worker.ended for worker in house.workers)

    @on_virtual_loop
    async def test_a_worker_that_is_replaced_meanwhile_ends_too(self) -> None:
        house = await started()
        house.faults = [WorkerError("it does not load")] * 9
        house.workers[0].die()
        await asyncio.sleep(1)
        await house.pool.stop()
        await asyncio.sleep(100)
        assert len(house.starts) == 4
        assert len(house.workers) == 1

    @on_virtual_loop
    async def test_a_worker_that_cannot_be_ended_holds_up_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        house = await started(2)

        async def fail() -> None:
            raise PermissionError(1, "Operation not permitted")

        house.workers[0].stop = fail  # type: ignore[method-assign]
        await house.pool.stop()
        assert house.workers[1].ended
        assert "Operation not permitted" in caplog.text

    @on_virtual_loop
    async def test_it_may_be_stopped_twice(self) -> None:
        house = await started()
        await house.pool.stop()
        await house.pool.stop()
        assert house.workers[0].ended


class TestDraining:
    @on_virtual_loop
    async def test_where_nothing_waits_it_is_drained_at_once(self) -> None:
        house = await started()
        await house.pool.drained()
        assert house.loop.time() == 0
        await house.pool.stop()

    @on_virtual_loop
    async def test_what_waits_and_what_is_with_a_worker_is_answered_first(self) -> None:
        house = await started()
        requests = house.submit(b"ab")
        draining = [asyncio.create_task(house.pool.drained()) for _ in range(2)]
        await turn()
        house.workers[0].answer()
        await turn()
        assert not any(one.done() for one in draining)
        house.workers[0].answer()
        await asyncio.gather(*draining)
        assert outcomes(requests) == [b"a", b"b"]
        await house.pool.stop()

    @on_virtual_loop
    async def test_a_streamed_answer_is_waited_for_to_its_last_piece(self) -> None:
        house = await started()
        house.submit(b"a")
        await turn()
        draining = asyncio.create_task(house.pool.drained())
        house.workers[0].reply(Reply(200, b"", stream=1))
        await asyncio.sleep(1)
        house.workers[0].say(Piece(1, b"first"))
        await asyncio.sleep(1)
        assert not draining.done()
        house.workers[0].say(Piece(1, b"", last=True))
        await asyncio.sleep(2 * SWEEP)
        assert draining.done()
        await house.pool.stop()

    @pytest.mark.parametrize("how", ["late", "crashed", "left", "stopped"])
    @on_virtual_loop
    async def test_whoever_is_refused_is_not_waited_for(self, how: str) -> None:
        house = await started()
        requests = house.submit(b"a")
        await turn()
        draining = asyncio.create_task(house.pool.drained())
        await turn()
        if how == "late":
            await asyncio.sleep(LIMITS.timeout + 3 * SWEEP)
        elif how == "crashed":
            house.workers[0].die()
            await turn()
            house.workers[1].die()
        elif how == "left":
            requests[0].fail(Left())
            house.workers[0].answer()
        else:
            await house.pool.stop()
        await turn()
        assert draining.done()
        await house.pool.stop()

    @on_virtual_loop
    async def test_whoever_gives_up_waiting_leaves_the_others_waiting(self) -> None:
        house = await started()
        house.submit(b"a")
        await turn()
        impatient, patient = (asyncio.create_task(house.pool.drained()) for _ in range(2))
        await turn()
        impatient.cancel()
        await turn()
        assert not patient.done()
        house.workers[0].answer()
        await patient
        await house.pool.stop()
