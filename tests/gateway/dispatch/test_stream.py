"""An answer in pieces: how much a worker may send ahead, who is waited for, and how it ends."""

from __future__ import annotations

import asyncio
import math

import pytest
from virtual_loop import on_virtual_loop

from legion import wire
from legion.gateway.dispatch.pending import Crashed, Left, TooLate
from legion.gateway.dispatch.stream import Stream
from legion.wire import PIECES_AHEAD, Allow, BadFrame, Piece
from stub_worker import StubWorker

NUMBER = 3
TIMEOUT = 10.0
DUE = 7.0


class Streamed:
    """A stream, its worker, and what its caller has got so far."""

    def __init__(self) -> None:
        self.worker = StubWorker()
        self.answered: asyncio.Future[wire.Reply] = asyncio.get_running_loop().create_future()
        self.stream = Stream(NUMBER, self.answered, self.worker, DUE, TIMEOUT)
        self.taken: list[bytes] = []

    def feed(self, body: bytes = b"x", *, last: bool = False, status: int = 200) -> None:
        self.stream.feed(Piece(NUMBER, body, last=last, status=status, content_type="text/event-stream", predict_us=5))

    async def take(self) -> None:
        async for body in self.stream.pieces():
            self.taken.append(body)


@on_virtual_loop
async def test_the_first_piece_is_the_head_of_the_answer() -> None:
    one = Streamed()
    one.feed(b"first")
    assert one.stream.begun
    assert await one.answered == wire.Reply(200, b"first", "text/event-stream", predict_us=5, stream=NUMBER)


@on_virtual_loop
async def test_a_first_piece_that_is_no_success_is_an_ordinary_answer() -> None:
    one = Streamed()
    one.feed(b"refused", status=400, last=True)
    assert not one.stream.begun
    reply = await one.answered
    assert (reply.status, reply.body, reply.stream) == (400, b"refused", 0)


@on_virtual_loop
async def test_pieces_come_as_they_are_sent_to_the_last() -> None:
    one = Streamed()
    one.feed(b"a")
    one.feed(b"b")
    taking = asyncio.create_task(one.take())
    await asyncio.sleep(1)
    assert one.taken == [b"a", b"b"]
    one.feed(b"c")
    await asyncio.sleep(1)
    one.feed(b"d", last=True)
    await taking
    assert one.taken == [b"a", b"b", b"c", b"d"]
    # For each but the last, which needs no leave, another one may be sent.
    assert one.worker.allowed == [Allow(NUMBER, 1)] * 3


@on_virtual_loop
async def test_a_worker_is_no_more_than_so_many_pieces_ahead() -> None:
    one = Streamed()
    for _ in range(PIECES_AHEAD):
        one.feed()
    one.feed(last=True)
    other = Streamed()
    for _ in range(PIECES_AHEAD):
        other.feed()
    with pytest.raises(BadFrame, match="more pieces of stream 3 than it was allowed"):
        other.feed()


@on_virtual_loop
async def test_what_the_caller_takes_may_be_sent_again() -> None:
    one = Streamed()
    for _ in range(PIECES_AHEAD):
        one.feed()
    taking = asyncio.create_task(one.take())
    await asyncio.sleep(1)
    assert one.worker.allowed == [Allow(NUMBER, 1)] * PIECES_AHEAD
    for _ in range(PIECES_AHEAD):
        one.feed()
    taking.cancel()
    with pytest.raises(BadFrame):
        one.feed()


@on_virtual_loop
async def test_the_worker_has_the_timeout_for_each_piece() -> None:
    one = Streamed()
    assert one.stream.due == DUE
    await asyncio.sleep(2)
    one.feed()
    assert one.stream.due == 2 + TIMEOUT


@on_virtual_loop
async def test_while_it_is_the_caller_s_turn_nobody_is_late() -> None:
    one = Streamed()
    for _ in range(PIECES_AHEAD):
        one.feed()
    assert one.stream.due == math.inf
    await asyncio.sleep(100)
    taking = asyncio.create_task(one.take())
    await asyncio.sleep(1)
    assert one.stream.due == 100 + TIMEOUT
    taking.cancel()


@on_virtual_loop
async def test_a_slow_caller_gives_the_worker_no_more_time() -> None:
    one = Streamed()
    one.feed()
    await asyncio.sleep(5)
    taking = asyncio.create_task(one.take())
    await asyncio.sleep(1)
    assert one.stream.due == TIMEOUT
    taking.cancel()


@on_virtual_loop
async def test_a_caller_who_left_is_told_to_the_worker_once() -> None:
    one = Streamed()
    one.feed()
    await asyncio.sleep(2)
    one.stream.leave()
    one.stream.leave()
    assert one.worker.allowed == [Allow(NUMBER, 0)]
    # It has that long to end.
    assert one.stream.due == 2 + TIMEOUT
    assert one.stream.left


@on_virtual_loop
async def test_a_stream_that_is_through_is_not_left() -> None:
    one = Streamed()
    one.feed(last=True)
    one.stream.leave()
    assert one.worker.allowed == []


@on_virtual_loop
async def test_what_comes_after_the_caller_left_goes_nowhere_and_is_bounded() -> None:
    one = Streamed()
    one.feed(b"a")
    one.stream.leave()
    for _ in range(PIECES_AHEAD - 1):
        one.feed(b"b")
    with pytest.raises(BadFrame):
        one.feed(b"b")
    one.stream.fail(Crashed())
    with pytest.raises(Crashed):
        await one.take()
    assert one.taken == [b"a"]


@on_virtual_loop
async def test_an_answer_that_nobody_waits_for_any_more_is_left_at_its_first_piece() -> None:
    one = Streamed()
    one.answered.set_exception(Left())
    one.feed()
    assert not one.stream.begun
    assert one.worker.allowed == [Allow(NUMBER, 0)]
    assert isinstance(one.answered.exception(), Left)


@on_virtual_loop
async def test_a_fault_comes_after_the_pieces_that_are_there() -> None:
    one = Streamed()
    one.feed(b"a")
    one.feed(b"b")
    one.stream.fail(TooLate())
    with pytest.raises(TooLate):
        await one.take()
    assert one.taken == [b"a", b"b"]


@on_virtual_loop
async def test_a_fault_reaches_a_caller_who_waits() -> None:
    one = Streamed()
    one.feed(b"a")
    taking = asyncio.create_task(one.take())
    await asyncio.sleep(1)
    one.stream.fail(Crashed())
    with pytest.raises(Crashed):
        await taking


@on_virtual_loop
async def test_a_fault_before_the_first_piece_is_the_answer() -> None:
    one = Streamed()
    one.stream.fail(TooLate())
    with pytest.raises(TooLate):
        await one.answered
