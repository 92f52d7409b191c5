"""The queue: who is taken next, who is refused, and that nobody who left or is late goes further."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from virtual_loop import on_virtual_loop

from legion import wire
from legion.gateway.dispatch.backlog import Backlog
from legion.gateway.dispatch.pace import Pace
from legion.gateway.dispatch.pending import Crashed, Left, Pending, QueueFull, TooLate
from legion.gateway.limits import Limits

FAR = 1000.0


def request(body: bytes, deadline: float = FAR) -> Pending:
    future: asyncio.Future[wire.Reply] = asyncio.get_running_loop().create_future()
    # Not every test looks at every refusal.
    future.add_done_callback(asyncio.Future.exception)
    return Pending(wire.Call(wire.MLFLOW, body, deadline=deadline), future, None, 0.0)


def backlog(*requests: Pending) -> Backlog:
    made = Backlog()
    for one in requests:
        made.waiting.append(one)
    return made


def bodies(requests: Iterable[Pending]) -> list[bytes]:
    return [one.call.body for one in requests]


def outcome(pending: Pending) -> type[BaseException | None] | None:
    """What it was refused with; None while it waits."""
    error = pending.future.exception() if pending.future.done() else None
    return None if error is None else type(error)


def pace(seconds: float = 1.0, timeout: float = 10.0) -> Pace:
    """Of one worker that takes so long for each call."""
    known = Pace(Limits(timeout=timeout), 1)
    known.learn(1, seconds)
    return known


@on_virtual_loop
async def test_the_oldest_are_taken_first() -> None:
    waiting = backlog(request(b"a"), request(b"b"), request(b"c"))
    assert bodies(waiting.take(2, 100, 0.0)) == [b"a", b"b"]
    assert bodies(waiting.take(2, 100, 0.0)) == [b"c"]
    assert waiting.take(2, 100, 0.0) == []


@on_virtual_loop
async def test_a_batch_has_about_so_many_bytes_and_at_least_one_request() -> None:
    waiting = backlog(request(b"a" * 50), request(b"b" * 60), request(b"c"), request(b"d" * 500), request(b"e"))
    assert len(waiting.take(9, 100, 0.0)) == 2
    assert len(waiting.take(9, 100, 0.0)) == 2
    assert len(waiting.waiting) == 1


@on_virtual_loop
async def test_who_left_is_not_taken_and_takes_no_place() -> None:
    left, stays = request(b"left"), request(b"stays")
    waiting = backlog(left, stays)
    left.fail(Left())
    assert waiting.take(1, 100, 0.0) == [stays]
    assert outcome(left) is Left


@on_virtual_loop
async def test_who_is_late_is_refused_when_the_turn_comes() -> None:
    late, just, stays = request(b"late", 4.0), request(b"just", 5.0), request(b"stays", 5.1)
    assert backlog(late, just, stays).take(9, 100, 5.0) == [stays]
    assert [outcome(one) for one in (late, just, stays)] == [TooLate, TooLate, None]


@on_virtual_loop
async def test_a_suspect_goes_alone() -> None:
    """First, last and between others."""
    one, two, three, four = requests = [request(b"%d" % number) for number in range(4)]
    waiting = backlog(*requests)
    two.alone = four.alone = True
    taken = [waiting.take(9, 100, 0.0) for _ in range(5)]
    assert taken == [[one], [two], [three], [four], []]


@on_virtual_loop
async def test_what_is_put_back_comes_first_in_its_order() -> None:
    waiting = backlog(request(b"c"))
    waiting.put_back(iter([request(b"a"), request(b"b")]))
    assert bodies(waiting.waiting) == [b"a", b"b", b"c"]
    assert len(waiting.waiting) == 3


@on_virtual_loop
async def test_a_sweep_refuses_the_late_wherever_they_stand() -> None:
    early, late, left, other = (request(b"", deadline) for deadline in (FAR, 5.0, FAR, FAR))
    waiting = backlog(early, late, left, other)
    left.fail(Left())
    waiting.sweep(5.0, Pace(Limits(), 1), 0.0)
    assert list(waiting.waiting) == [early, other]
    assert [outcome(one) for one in (late, left)] == [TooLate, Left]


@on_virtual_loop
async def test_a_sweep_refuses_who_cannot_be_answered_in_time() -> None:
    """At a second each, the third is answered three seconds from now."""
    requests = [request(b"", 12.9) for _ in range(4)]
    waiting = backlog(*requests)
    waiting.sweep(10.0, pace(), 0.0)
    assert list(waiting.waiting) == requests[:2]
    refusal = requests[2].future.exception()
    assert isinstance(refusal, QueueFull)
    assert refusal.retry_after == 2
    assert outcome(requests[3]) is QueueFull


@on_virtual_loop
async def test_what_the_worker_has_begun_counts() -> None:
    waiting = backlog(request(b"", 12.5))
    waiting.sweep(10.0, pace(2.0), 8.0)
    assert len(waiting.waiting) == 1
    waiting.sweep(10.0, pace(2.0), 9.0)
    assert len(waiting.waiting) == 0


@pytest.mark.parametrize("refused", [TooLate, Left, QueueFull])
@on_virtual_loop
async def test_who_is_refused_stands_in_nobody_s_way(refused: type[Exception]) -> None:
    """Behind five who are refused in the same sweep, a request is the first, and answered in a second."""
    gone = [request(b"gone", {TooLate: 9.0, Left: FAR, QueueFull: 10.5}[refused]) for _ in range(5)]
    stays = request(b"stays", 12.0)
    waiting = backlog(*gone, stays)
    if refused is Left:
        for one in gone:
            one.fail(Left())
    waiting.sweep(10.0, pace(), 0.0)
    assert {outcome(one) for one in gone} == {refused}
    assert list(waiting.waiting) == [stays]


@on_virtual_loop
async def test_all_are_refused_at_the_end() -> None:
    left, stays = request(b"left"), request(b"stays")
    waiting = backlog(left, stays)
    left.fail(Left())
    waiting.fail(Crashed())
    assert len(waiting.waiting) == 0
    assert [outcome(one) for one in (left, stays)] == [Left, Crashed]
