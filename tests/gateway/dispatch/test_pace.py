"""What is learnt of a model's speed, and what follows for batches, the queue and refusals. Pure numbers."""

# pytest.approx is no number to mypy.
# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

import pytest

from legion.gateway.dispatch.pace import BatchPace, Pace
from legion.gateway.limits import Limits


def learnt(seconds: float, *, workers: int = 1, limits: Limits = Limits(timeout=10.0)) -> Pace:
    """The pace of a model that takes so long for each call."""
    pace = Pace(limits, workers)
    pace.learn(1, seconds)
    return pace


class TestOneByOne:
    def test_before_the_first_answer_one_call_at_a_time_is_tried(self) -> None:
        pace = Pace(Limits(queue=7, timeout=10.0), 2)
        assert (pace.size, pace.ahead, pace.room, pace.linger) == (1, False, 7, 0.0)
        assert pace.answered_at(100, 5.0, 0.0) == 5.0

    @pytest.mark.parametrize(
        ("seconds", "size"),
        [(0.5, 1), (0.0011, 1), (0.001, 2), (0.0002, 10), (0.00001, 32), (0.0, 32)],
    )
    def test_a_frame_takes_two_milliseconds_at_most(self, seconds: float, size: int) -> None:
        assert learnt(seconds).size == size

    def test_a_frame_has_no_more_calls_than_a_batch_may(self) -> None:
        assert learnt(0.00001, limits=Limits(batch=3)).size == 3

    @pytest.mark.parametrize(("seconds", "ahead"), [(0.0001, True), (0.0049, True), (0.0051, False), (1.0, False)])
    def test_only_a_quick_worker_is_given_more_ahead(self, seconds: float, ahead: bool) -> None:
        assert learnt(seconds).ahead is ahead

    def test_a_frame_counts_by_the_call(self) -> None:
        pace = Pace(Limits(), 1)
        pace.learn(10, 0.002)
        assert pace.size == 10

    @pytest.mark.parametrize(("workers", "room"), [(1, 6), (3, 18)])
    def test_as_many_may_wait_as_can_be_answered_in_four_fifths_of_the_timeout(self, workers: int, room: int) -> None:
        assert learnt(1.0, workers=workers).room == room

    def test_no_more_wait_than_the_queue_holds(self) -> None:
        assert learnt(0.0001, limits=Limits(queue=5)).room == 5

    def test_one_may_wait_for_each_worker_however_slow_the_model(self) -> None:
        assert learnt(100.0, workers=3).room == 3

    @pytest.mark.parametrize(("timeout", "seconds"), [(0.5, 1), (10.0, 2), (60.0, 12), (3600.0, 30)])
    def test_another_try_is_worth_while_after_a_fifth_of_the_timeout(self, timeout: float, seconds: int) -> None:
        assert Pace(Limits(timeout=timeout), 1).retry_after == seconds

    def test_a_call_is_answered_after_those_before_it(self) -> None:
        pace = learnt(1.0, workers=2)
        # Both workers are free, so the first two are answered after a second.
        assert [pace.answered_at(position, 100.0, 0.0) for position in range(4)] == [101.0, 101.0, 102.0, 102.0]

    def test_a_call_waits_for_what_the_worker_has_begun(self) -> None:
        pace = learnt(1.0)
        assert pace.answered_at(0, 100.0, 99.75) == 101.75

    def test_one_outlier_changes_little(self) -> None:
        pace = learnt(0.0001)
        pace.learn(1, 50.0)
        assert pace.size >= 5
        for _ in range(60):
            pace.learn(1, 50.0)
        assert pace.size == 1

    def test_what_came_last_counts_most(self) -> None:
        pace = learnt(1.0)
        for _ in range(60):
            pace.learn(1, 0.0002)
        assert pace.size >= 8

    def test_it_begins_anew(self) -> None:
        pace = learnt(0.0001)
        pace.relearn(Limits(queue=3))
        assert (pace.size, pace.ahead, pace.room) == (1, False, 3)


def batches(*taken: tuple[int, float], workers: int = 1, limits: Limits = Limits(timeout=10.0)) -> BatchPace:
    """The pace after batches of so many calls that took so long."""
    pace = BatchPace(limits, workers)
    for calls, seconds in taken:
        pace.learn(calls, seconds)
    return pace


def lines(fixed: float, each: float, count: int = 30) -> list[tuple[int, float]]:
    """Batches of a model that takes a fixed part and a part for each call."""
    return [(calls, fixed + each * calls) for calls in (1, 2, 4, 8, 16, 32) * (count // 6)]


class TestMerged:
    def test_before_the_first_answer_one_call_at_a_time_is_tried(self) -> None:
        pace = batches()
        assert (pace.size, pace.ahead, pace.linger) == (1, False, 0.0)
        assert pace.answered_at(100, 5.0, 0.0) == 5.0

    def test_larger_batches_are_tried_step_by_step(self) -> None:
        pace = batches()
        sizes = []
        for _ in range(10):
            pace.learn(pace.size, 0.01)
            sizes.append(pace.size)
        assert sizes == [2, 4, 8, 16, 32, 64, 128, 256, 256, 256]

    def test_a_batch_that_was_not_full_is_no_reason_for_a_larger_one(self) -> None:
        pace = batches((1, 0.01), (2, 0.01), (3, 0.01))
        assert pace.size == 4

    def test_a_batch_is_as_large_as_a_third_of_the_timeout_allows(self) -> None:
        # 3.33 s less the fixed 0.1, at 0.2 s a call.
        pace = batches(*lines(0.1, 0.2))
        assert pace.size == 16

    def test_a_batch_may_take_twice_what_it_takes_whatever_its_size(self) -> None:
        pace = batches(*lines(6.5, 1.0))
        assert pace.size == 6

    def test_the_limits_bound_a_batch(self) -> None:
        pace = batches(*lines(0.01, 0.0), limits=Limits(batch=5))
        assert pace.size == 5

    def test_as_many_may_wait_as_whole_batches_are_answered_in_time(self) -> None:
        # A batch of 256 takes a second: of eight in time, one is being answered.
        pace = batches(*[(256, 1.0)] * 9, limits=Limits(timeout=10.0, queue=5000))
        assert pace.room == 7 * 256
        assert batches(*[(256, 1.0)] * 9, workers=2, limits=Limits(timeout=10.0, queue=5000)).room == 2 * 7 * 256

    def test_one_may_wait_for_each_worker_however_slow_the_model(self) -> None:
        assert batches((1, 100.0), workers=3).room == 3

    @pytest.mark.parametrize(
        ("seconds", "ahead", "linger"), [(0.001, True, 0.0), (0.01, False, 0.001), (1.0, False, 0.003)]
    )
    def test_who_was_answered_is_waited_for_where_batches_are_slow(
        self, seconds: float, ahead: bool, linger: float
    ) -> None:
        pace = batches((1, seconds))
        assert pace.ahead is ahead
        assert pace.linger == pytest.approx(linger)

    def test_calls_are_answered_a_batch_at_a_time(self) -> None:
        pace = batches(*[(4, 1.0)] * 4, limits=Limits(timeout=10.0, batch=4))
        foreseen = [pace.answered_at(position, 100.0, 0.0) for position in (0, 3, 4, 8)]
        assert foreseen == pytest.approx([101.0, 101.0, 102.0, 103.0])

    def test_a_call_waits_for_the_batch_that_the_worker_has_begun(self) -> None:
        pace = batches(*[(4, 1.0)] * 4, limits=Limits(timeout=10.0, batch=4))
        assert pace.answered_at(0, 100.0, 99.75) == pytest.approx(101.75)

    def test_it_begins_anew(self) -> None:
        pace = batches(*lines(0.01, 0.1))
        pace.relearn(Limits(batch=9, queue=3))
        assert (pace.size, pace.ahead, pace.room, pace.linger) == (1, False, 3, 0.0)
        pace.learn(1, 0.01)
        pace.learn(2, 0.01)
        assert pace.size == 4
