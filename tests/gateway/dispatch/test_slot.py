"""A worker's place: what it has and owes, whose reply is whose, when it hangs, and what is left when it ends."""

# pytest.approx is no number to mypy.
# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from virtual_loop import on_virtual_loop

from legion import wire
from legion.gateway.dispatch.pending import Crashed, Left, Pending, TooLate
from legion.gateway.dispatch.slot import Slot
from legion.wire import STREAMS_AT_ONCE, Allow, BadFrame, Piece, Reply
from stub_worker import StubWorker

TIMEOUT = 10.0


def request(body: bytes, deadline: float = 1000.0) -> Pending:
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    # Not every test looks at every refusal.
    future.add_done_callback(asyncio.Future.exception)
    return Pending(wire.Call(wire.MLFLOW, body, deadline=deadline), future, None, 0.0)


class Place:
    """A slot with a worker; `answered` has what is told of whole frames."""

    def __init__(self, *, merges: bool = False) -> None:
        self.loop = asyncio.get_running_loop()
        self.answered: list[tuple[int, Any]] = []
        self.then: Callable[[], object] = lambda: None
        self.slot = Slot(self.loop.time, TIMEOUT, self._on_answered)
        self.worker = StubWorker(merges=merges)
        self.slot.fill(self.worker)

    def _on_answered(self, slot: Slot, calls: int, seconds: float) -> None:
        assert slot is self.slot
        self.answered.append((calls, seconds))
        self.then()

    def post(self, bodies: bytes, deadline: float = 1000.0) -> list[Pending]:
        """A frame with one request a letter."""
        batch = [request(bodies[place : place + 1], deadline) for place in range(len(bodies))]
        self.slot.post(batch)
        return batch

    def stream(self, number: int = 1) -> Pending:
        """A request whose answer is streamed under this number, though its first piece is still to come."""
        (pending,) = self.post(b"s")
        self.worker.reply(Reply(200, b"", stream=number))
        return pending


def outcome(pending: Pending) -> bytes | type[BaseException] | None:
    """The body of its answer, the kind of its refusal, or None."""
    if not pending.future.done():
        return None
    error = pending.future.exception()
    return pending.future.result().body if error is None else type(error)


class TestPosting:
    @on_virtual_loop
    async def test_it_is_free_while_its_worker_has_nothing_to_answer(self) -> None:
        place = Place()
        assert (place.slot.takes(0), place.slot.busy, place.slot.owes, place.slot.frames) == (True, False, False, 0)
        place.post(b"ab")
        place.post(b"c")
        assert (place.slot.takes(0), place.slot.busy, place.slot.owes, place.slot.frames) == (False, True, True, 2)
        place.worker.answer(3)
        assert (place.slot.takes(0), place.slot.busy, place.slot.owes, place.slot.frames) == (True, False, False, 0)

    @on_virtual_loop
    async def test_without_a_worker_it_is_not_free(self) -> None:
        place = Place()
        place.slot.empty()
        assert not place.slot.takes(0)

    @on_virtual_loop
    async def test_requests_note_when_they_were_sent_and_how_often(self) -> None:
        place = Place()
        await asyncio.sleep(3)
        (pending,) = place.post(b"a")
        assert (pending.sent, pending.attempts) == (3.0, 1)

    @on_virtual_loop
    async def test_only_calls_behind_others_are_taken_back(self) -> None:
        """The first has begun; whoever leaves before their turn is not worked for."""
        place = Place()
        requests = place.post(b"abc") + place.post(b"de")
        for pending in requests:
            pending.fail(Left())
        assert place.worker.dropped == [1, 2, 3, 4]

    @on_virtual_loop
    async def test_calls_that_are_predicted_together_are_not_taken_back(self) -> None:
        place = Place(merges=True)
        for pending in place.post(b"abc") + place.post(b"de"):
            pending.fail(Left())
        assert place.worker.dropped == []

    @on_virtual_loop
    async def test_it_lingers_no_more_once_it_has_work(self) -> None:
        place = Place()
        place.slot.linger = timer = place.loop.call_later(1, print)
        place.slot.expects = 5
        place.post(b"a")
        assert timer.cancelled()
        assert place.slot.expects == 0
        assert place.slot.linger is None


class TestReplies:
    @on_virtual_loop
    async def test_each_request_gets_its_own_however_they_come(self) -> None:
        place = Place()
        requests = place.post(b"abc") + place.post(b"de")
        place.worker.answer(2)
        assert [outcome(one) for one in requests] == [b"a", b"b", None, None, None]
        place.worker.answer(2)
        assert [outcome(one) for one in requests] == [b"a", b"b", b"c", b"d", None]
        place.worker.answer(1)
        assert outcome(requests[4]) == b"e"

    @on_virtual_loop
    async def test_whoever_left_gets_nothing_and_nobody_else_gets_theirs(self) -> None:
        place = Place()
        requests = place.post(b"abc")
        requests[1].fail(Left())
        place.worker.answer(3)
        assert [outcome(one) for one in requests] == [b"a", Left, b"c"]

    @on_virtual_loop
    async def test_what_an_earlier_worker_says_comes_too_late(self) -> None:
        place = Place()
        earlier = place.worker
        place.post(b"a")
        place.slot.empty()
        place.slot.fill(StubWorker())
        (pending,) = place.post(b"b")
        earlier.answer(1)
        earlier.say(Piece(9, b""))
        assert outcome(pending) is None

    @on_virtual_loop
    async def test_each_frame_is_told_once_when_it_is_whole(self) -> None:
        place = Place()
        place.post(b"abc")
        place.post(b"de")
        place.post(b"f")
        await asyncio.sleep(5)
        place.worker.answer(2, seconds=0.25)
        assert place.answered == []
        place.worker.answer(2, seconds=0.25)
        assert [calls for calls, _ in place.answered] == [3]
        place.worker.answer(2, seconds=0.25)
        assert [calls for calls, _ in place.answered] == [3, 2, 1]
        assert not place.slot.frames

    @on_virtual_loop
    async def test_one_by_one_the_seconds_of_a_frame_are_those_of_all_its_calls(self) -> None:
        place = Place()
        place.post(b"abc")
        await asyncio.sleep(5)
        place.worker.reply(Reply(200, b"", decode_us=100_000, predict_us=200_000, encode_us=300_000))
        await asyncio.sleep(5)
        place.worker.answer(2, seconds=0.5)
        assert place.answered == [(3, pytest.approx(1.6))]

    @on_virtual_loop
    async def test_together_the_seconds_of_a_frame_are_those_of_any_of_its_calls(self) -> None:
        place = Place(merges=True)
        place.post(b"abc")
        await asyncio.sleep(5)
        place.worker.answer(2, seconds=0.5)
        await asyncio.sleep(5)
        place.worker.answer(1, seconds=0.25)
        assert place.answered == [(3, pytest.approx(0.5))]

    @on_virtual_loop
    async def test_the_seconds_of_one_frame_are_not_the_next_one_s(self) -> None:
        place = Place()
        place.post(b"a")
        place.post(b"b")
        for seconds in (0.5, 0.25):
            await asyncio.sleep(5)
            place.worker.answer(1, seconds)
        assert place.answered == [(1, pytest.approx(0.5)), (1, pytest.approx(0.25))]

    @on_virtual_loop
    async def test_a_worker_cannot_have_taken_longer_than_it_was_given(self) -> None:
        place = Place()
        place.post(b"a")
        await asyncio.sleep(1)
        place.worker.answer(1, seconds=3600.0)
        assert place.answered == [(1, pytest.approx(1.001))]

    @on_virtual_loop
    async def test_more_may_be_posted_as_soon_as_a_frame_is_told(self) -> None:
        place = Place()
        place.post(b"a")
        posted: list[Pending] = []
        place.then = lambda: posted.extend(place.post(b"b")) if not posted else None
        place.worker.answer(1)
        place.worker.answer(1)
        assert outcome(posted[0]) == b"b"
        assert len(place.answered) == 2


class TestHanging:
    @on_virtual_loop
    async def test_a_worker_that_says_nothing_for_the_timeout_hangs(self) -> None:
        place = Place()
        await asyncio.sleep(100)
        place.post(b"a")
        assert not place.slot.sweep(100 + TIMEOUT)
        assert place.slot.sweep(100.1 + TIMEOUT)

    @on_virtual_loop
    async def test_a_worker_that_answers_makes_progress_however_late_its_calls_are(self) -> None:
        place = Place()
        requests = place.post(b"abc", deadline=5.0)
        await asyncio.sleep(9)
        place.worker.answer(1)
        assert not place.slot.sweep(15.0)
        assert [outcome(one) for one in requests] == [b"a", TooLate, TooLate]
        assert not place.slot.sweep(9 + TIMEOUT)
        assert place.slot.sweep(9.1 + TIMEOUT)

    @on_virtual_loop
    async def test_a_worker_without_work_does_not_hang(self) -> None:
        place = Place()
        place.post(b"a")
        place.worker.answer(1)
        assert not place.slot.sweep(1e6)

    @on_virtual_loop
    async def test_the_timeout_may_be_set(self) -> None:
        place = Place()
        place.post(b"a")
        place.slot.timeout = 2 * TIMEOUT
        assert not place.slot.sweep(1.5 * TIMEOUT)

    @on_virtual_loop
    async def test_the_worker_is_told_of_late_calls_behind_others(self) -> None:
        place = Place()
        place.post(b"ab", deadline=5.0)
        place.slot.sweep(5.0)
        place.slot.sweep(5.1)
        assert place.worker.dropped == [1]


class TestEnding:
    @on_virtual_loop
    async def test_what_was_not_answered_is_given_back_oldest_first(self) -> None:
        place = Place()
        requests = place.post(b"ab") + place.post(b"c")
        place.worker.answer(1)
        assert place.slot.empty() == requests[1:]
        assert place.slot.worker is None
        assert not place.slot.busy
        assert not place.slot.frames
        assert place.slot.empty() == []

    @on_virtual_loop
    async def test_only_the_frame_that_was_begun_was_an_attempt(self) -> None:
        place = Place()
        place.post(b"abc")
        place.post(b"de")
        place.worker.answer(1)
        assert [one.attempts for one in place.slot.empty()] == [1, 1, 0, 0]

    @on_virtual_loop
    async def test_the_worker_that_ended_is_not_told_who_leaves(self) -> None:
        place = Place()
        place.post(b"ab")
        place.worker.reply(Reply(200, b"", stream=1), Reply(200, b"", stream=2))
        place.post(b"cd")
        left = place.slot.empty()
        assert len(left) == 4
        for pending in left:
            pending.fail(Left())
        assert place.worker.dropped == []

    @on_virtual_loop
    async def test_a_new_worker_s_frames_are_its_own(self) -> None:
        place = Place()
        place.post(b"ab")
        await asyncio.sleep(1)
        place.worker.answer(1, seconds=0.5)
        place.slot.empty()
        place.slot.fill(StubWorker())
        place.post(b"c")
        await asyncio.sleep(1)
        assert isinstance(place.slot.worker, StubWorker)
        place.slot.worker.answer(1, seconds=0.25)
        assert place.answered == [(1, pytest.approx(0.25))]

    @on_virtual_loop
    async def test_nobody_lingers_for_a_worker_that_ended(self) -> None:
        place = Place()
        place.slot.linger = timer = place.loop.call_later(1, print)
        place.slot.expects = 5
        place.slot.empty()
        assert timer.cancelled()
        assert place.slot.expects == 0


class TestStreams:
    @on_virtual_loop
    async def test_a_streamed_answer_is_settled_by_its_first_piece(self) -> None:
        place = Place()
        pending = place.stream(4)
        assert outcome(pending) is None
        assert (place.slot.takes(0), place.slot.busy, place.slot.owes) == (True, True, True)
        place.worker.say(Piece(4, b"first"))
        assert outcome(pending) == b"first"
        assert place.slot.owes
        place.worker.say(Piece(4, b"", last=True))
        assert not place.slot.busy

    @on_virtual_loop
    async def test_pieces_go_to_the_stream_of_their_number(self) -> None:
        place = Place()
        one, two = place.stream(1), place.stream(2)
        place.worker.say(Piece(2, b"two", last=True))
        place.worker.say(Piece(1, b"one", last=True))
        assert (outcome(one), outcome(two)) == (b"one", b"two")

    @on_virtual_loop
    async def test_nothing_is_owed_to_a_caller_who_left(self) -> None:
        place = Place()
        pending = place.stream()
        place.worker.say(Piece(1, b"first"))
        assert pending.stream is not None
        pending.stream.leave()
        assert not place.slot.owes
        assert place.slot.busy

    @on_virtual_loop
    async def test_a_piece_of_a_stream_that_there_is_not_is_a_bad_frame(self) -> None:
        place = Place()
        place.stream(1)
        with pytest.raises(BadFrame, match="a piece of stream 2"):
            place.worker.say(Piece(2, b""))
        place.worker.say(Piece(1, b"", last=True))
        with pytest.raises(BadFrame, match="a piece of stream 1"):
            place.worker.say(Piece(1, b""))

    @on_virtual_loop
    async def test_a_number_that_is_taken_is_a_bad_frame_and_loses_nobody(self) -> None:
        place = Place()
        first = place.stream(1)
        requests = place.post(b"abc")
        with pytest.raises(BadFrame, match="stream 1, beside 1 others"):
            place.worker.reply(Reply(200, b"a"), Reply(200, b"", stream=1), Reply(200, b"c"))
        assert place.slot.empty() == [first, *requests[1:]]
        assert outcome(requests[0]) == b"a"

    @on_virtual_loop
    async def test_more_streams_than_may_be_are_a_bad_frame_and_lose_nobody(self) -> None:
        place = Place()
        streams = [place.stream(number) for number in range(1, STREAMS_AT_ONCE + 1)]
        (pending,) = place.post(b"a")
        with pytest.raises(BadFrame, match="beside 64 others"):
            place.worker.reply(Reply(200, b"", stream=1000))
        assert place.slot.empty() == [*streams, pending]

    @on_virtual_loop
    async def test_a_first_piece_that_does_not_come_in_time_is_late(self) -> None:
        place = Place()
        (pending,) = place.post(b"a", deadline=5.0)
        place.worker.reply(Reply(200, b"", stream=1))
        assert not place.slot.sweep(4.9)
        assert outcome(pending) is None
        assert not place.slot.sweep(5.0)
        assert outcome(pending) is TooLate
        assert place.worker.allowed == [Allow(1, 0)]

    @on_virtual_loop
    async def test_a_caller_who_leaves_before_the_first_piece_is_noticed(self) -> None:
        place = Place()
        pending = place.stream()
        pending.fail(Left())
        place.slot.sweep(1.0)
        place.slot.sweep(2.0)
        assert place.worker.allowed == [Allow(1, 0)]

    @on_virtual_loop
    async def test_a_worker_is_replaced_when_half_of_its_streams_do_not_end(self) -> None:
        place = Place()
        for number in range(1, STREAMS_AT_ONCE // 2 + 1):
            place.stream(number).fail(Left())
        place.slot.sweep(1.0)
        assert not place.slot.sweep(TIMEOUT - 0.1)
        assert place.slot.sweep(TIMEOUT)
        place.worker.say(Piece(1, b"", last=True))
        assert not place.slot.sweep(TIMEOUT)

    @on_virtual_loop
    async def test_when_the_worker_ends_what_had_begun_fails_and_the_rest_is_tried_again(self) -> None:
        place = Place()
        begun, waits = place.stream(1), place.stream(2)
        place.worker.say(Piece(1, b"first"))
        (called,) = place.post(b"a")
        assert place.slot.empty() == [waits, called]
        assert begun.stream is not None
        pieces = begun.stream.pieces()
        assert await anext(pieces) == b"first"
        with pytest.raises(Crashed):
            await anext(pieces)
        assert not place.slot.busy
