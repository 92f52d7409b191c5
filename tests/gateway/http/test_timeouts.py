"""When a connection is overdue, from what it was waited for at each look."""

from __future__ import annotations

import pytest

from legion.gateway.http.timeouts import Phase, Sample, Stopwatch, Timeouts

TIMEOUTS = Timeouts(idle=10, head=10, body=10, discard=10, answer=10, rate=100)
ONE, OTHER = object(), object()


def first_overdue(*samples: Sample) -> int | None:
    """The number of the sample, one each second from 0, at which it is overdue; None if it never is."""
    stopwatch = Stopwatch()
    overdue = [stopwatch.overdue(sample, second, TIMEOUTS) for second, sample in enumerate(samples)]
    return overdue.index(True) if True in overdue else None


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.HEAD, Phase.BODY, Phase.DISCARD, Phase.ANSWER])
def test_it_is_overdue_once_it_has_been_waited_for_so_long(phase: Phase) -> None:
    assert first_overdue(*[Sample(phase, ONE)] * 30) == 10


def test_nothing_is_waited_for_for_ever() -> None:
    assert first_overdue(*[Sample(Phase.NOTHING)] * 1000) is None


def test_another_phase_or_another_request_begins_anew() -> None:
    idle, head = [Sample(Phase.IDLE, ONE)] * 9, [Sample(Phase.HEAD, OTHER)] * 9
    assert first_overdue(*idle, *head, *[Sample(Phase.IDLE, OTHER)] * 9, *idle, *[Sample(Phase.NOTHING)] * 9) is None
    assert first_overdue(*idle, *head, *[Sample(Phase.HEAD, ONE)] * 20) == 28


@pytest.mark.parametrize(("rate", "overdue"), [(100, None), (99, 10)])
def test_what_moves_fast_enough_is_never_overdue(rate: int, overdue: int | None) -> None:
    assert first_overdue(*[Sample(Phase.BODY, ONE, second * rate) for second in range(100)]) == overdue


def test_what_moved_long_ago_counts_no_more() -> None:
    assert first_overdue(*[Sample(Phase.BODY, ONE, min(second * 1000, 10_000)) for second in range(100)]) == 20
