"""A batch of calls, answered: together where that was proven, one by one else, and each by itself where it fails.

Model and codec are none: a body says what becomes of it, and each answer how it came about.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Generator
from typing import Any

import pytest

from legion import wire
from legion.errors import InputError
from legion.interface.table import Table
from legion.signature import Field, Signature
from legion.wire import Call
from legion.worker.batch import Answerer
from legion.worker.codecs.request import Request
from legion.worker.streams import Streams

PASSED = 1e-9
FAR = 1e12


class Model:
    """Answers each row with itself. `predicted` has the rows of each call; `then` may do something else instead."""

    signature = Signature((Field("x", "double"),))
    path = "reference"
    checks_objects = False

    def __init__(self, mode: str = "matrix") -> None:
        self.mode = mode
        self.predicted: list[tuple[list[Any], dict[str, Any] | None]] = []
        self.then: Callable[[list[Any]], Any] = lambda rows: rows

    def predict(self, table: Table, params: dict[str, Any] | None) -> Any:
        rows = [value for (value,) in table.rows or []]
        self.predicted.append((rows, params))
        return self.then(rows)

    def invoke(self, body: bytes, content_type: str | None) -> tuple[int, bytes, str]:
        return 200, json.dumps(self.then([body.decode()])).encode(), content_type or "application/json"

    def describe(self) -> None:
        return None

    def encode(self, value: Any) -> None:
        return None

    def stream(self, body: bytes) -> Generator[Any, None, None]:
        yield from ()


class Codec:
    """Bodies are JSON: rows, and whatever parameters and kind of table they ask for. `decoded` counts them."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []
        self.seen: Callable[[], object] = lambda: None

    def decode(self, call: Call) -> Request:
        self.decoded.append(call.body)
        self.seen()
        document = json.loads(call.body)
        if document.get("refused"):
            raise InputError("this is refused")
        if document.get("odd"):
            raise ZeroDivisionError("nobody thought of this")
        rows = document["rows"]
        names = tuple(document.get("names", ["x"]))
        table = Table(names, len(rows), rows=[[row] for row in rows], mergeable=document.get("mergeable", True))
        return Request(table, document.get("params"), document.get("wanted"))

    def encode(self, items: Any, wanted: Any) -> tuple[bytes, str | None]:
        if wanted == "the impossible":
            raise TypeError("that cannot be encoded")
        return json.dumps(items).encode(), wanted

    def refuse(self, error: Exception) -> tuple[int, bytes]:
        return 400, f"{type(error).__name__}: {error}".encode()


class Worker:
    """An answerer with that model and that codec."""

    def __init__(self, *, merges: bool = True, mode: str = "matrix") -> None:
        self.model = Model(mode)
        self.codec = Codec()
        self.answerer = Answerer(self.model, merges=merges)
        self.answerer.codecs[wire.MLFLOW] = self.codec

    def frames(self, calls: list[Call]) -> list[list[bytes]]:
        """The bodies that are ready together."""
        return [[reply.body for reply in replies] for replies in self.answerer.replies(calls)]

    def bodies(self, calls: list[Call]) -> list[bytes]:
        return [body for frame in self.frames(calls) for body in frame]


def call(*rows: int, deadline: float = 0.0, **more: Any) -> Call:
    return Call(wire.MLFLOW, json.dumps({"rows": rows, **more}).encode(), deadline=deadline)


class TestMerging:
    def test_calls_are_predicted_at_once_and_each_gets_its_own_rows(self) -> None:
        worker = Worker()
        assert worker.frames([call(1, 2), call(3), call(), call(4)]) == [[b"[1, 2]", b"[3]", b"[]", b"[4]"]]
        assert worker.model.predicted == [([1, 2, 3, 4], None)]

    def test_a_single_call_is_predicted_as_it_is(self) -> None:
        worker = Worker()
        assert worker.frames([call(1, 2)]) == [[b"[1, 2]"]]
        assert worker.frames([]) == []

    def test_a_call_with_parameters_is_predicted_by_itself_and_in_its_place(self) -> None:
        worker = Worker()
        calls = [call(1), call(2, params={"k": 1}), call(3), call(4, params={})]
        assert worker.frames(calls) == [[b"[1]"], [b"[2]"], [b"[3]"], [b"[4]"]]
        assert worker.model.predicted == [([1, 3], None), ([2], {"k": 1}), ([4], {})]

    def test_a_first_call_with_parameters_does_not_keep_the_others_apart(self) -> None:
        worker = Worker()
        assert worker.frames([call(1, params={"k": 1}), call(2), call(3)]) == [[b"[1]"], [b"[2]", b"[3]"]]
        assert worker.model.predicted == [([2, 3], None), ([1], {"k": 1})]

    @pytest.mark.parametrize("unlike", [{"names": ["y"]}, {"mergeable": False}])
    def test_calls_that_are_unlike_are_predicted_by_themselves(self, unlike: dict[str, Any]) -> None:
        worker = Worker()
        assert worker.bodies([call(1), call(2, **unlike), call(3)]) == [b"[1]", b"[2]", b"[3]"]
        assert worker.model.predicted == [([1, 3], None), ([2], None)]

    def test_a_call_that_is_refused_fails_alone(self) -> None:
        worker = Worker()
        calls = [call(1), call(2, refused=True), call(3), call(4, odd=True)]
        assert worker.frames(calls) == [
            [
                b"[1]",
                b"InputError: this is refused",
                b"[3]",
                b"InputError: the body cannot be read: nobody thought of this",
            ]
        ]
        assert worker.model.predicted == [([1, 3], None)]

    def test_where_all_but_one_are_refused_that_one_is_predicted(self) -> None:
        worker = Worker()
        assert worker.bodies([call(1), call(2, refused=True)])[0] == b"[1]"

    def test_an_answer_that_cannot_be_encoded_fails_alone(self) -> None:
        worker = Worker()
        calls = [call(1), call(2, wanted="the impossible"), call(3)]
        assert worker.bodies(calls) == [b"[1]", b"TypeError: that cannot be encoded", b"[3]"]

    @pytest.mark.parametrize("error", [ValueError("row 2 is marked"), InputError("row 2 is marked"), SystemExit(5)])
    def test_where_a_merged_prediction_fails_each_is_predicted_alone_and_read_once(self, error: BaseException) -> None:
        def fail(rows: list[Any]) -> list[Any]:
            if 2 in rows:
                raise error
            return rows

        worker = Worker()
        worker.model.then = fail
        calls = [call(1), call(2), call(3)]
        first, second, third = worker.frames(calls)
        assert (first, third) == ([b"[1]"], [b"[3]"])
        assert (b"row 2 is marked" if isinstance(error, Exception) else b"tried to end its process") in second[0]
        assert worker.codec.decoded == [one.body for one in calls]
        assert [rows for rows, _ in worker.model.predicted] == [[1, 2, 3], [1], [2], [3]]
        # And the next batch is merged as ever.
        assert worker.answerer.merges

    @pytest.mark.parametrize("wrong", [[1], [1, 2, 3, 4], "text", {"a": 1}])
    def test_a_merged_prediction_with_other_rows_is_the_last_one(
        self, wrong: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        worker = Worker()
        worker.model.then = lambda rows: wrong if len(rows) == 3 else rows
        calls = [call(1), call(2), call(3)]
        assert worker.frames(calls) == [[b"[1]"], [b"[2]"], [b"[3]"]]
        assert worker.codec.decoded == [one.body for one in calls]
        assert not worker.answerer.merges
        assert "requests are no longer merged" in caplog.text
        worker.frames(calls)
        assert [rows for rows, _ in worker.model.predicted[4:]] == [[1], [2], [3]]

    def test_running_out_of_memory_ends_the_worker(self) -> None:
        def fail(rows: list[Any]) -> list[Any]:
            raise MemoryError

        for merges in (True, False):
            worker = Worker(merges=merges)
            worker.model.then = fail
            with pytest.raises(MemoryError):
                worker.bodies([call(1), call(2)])

    def test_those_that_are_ready_do_not_wait_for_one_that_is_predicted_alone(self) -> None:
        worker = Worker()
        replies = worker.answerer.replies([call(1), call(2), call(3, params={}), call(4)])
        assert [reply.body for reply in next(replies)] == [b"[1]", b"[2]"]
        assert [rows for rows, _ in worker.model.predicted] == [[1, 2, 4]]
        assert [reply.body for reply in next(replies)] == [b"[3]"]
        assert [reply.body for reply in next(replies)] == [b"[4]"]

    def test_those_that_were_predicted_together_have_the_same_times(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By a clock that goes on by a millisecond whenever it is read."""
        clock = itertools.count(0, 1_000_000)
        monkeypatch.setattr("legion.worker.batch.perf_counter_ns", lambda: next(clock))
        worker = Worker()
        worker.model.then = lambda rows: [rows, next(clock)][0]
        worker.codec.seen = lambda: next(clock)
        together = worker.answerer.answer([call(1), call(2), call(3)])
        assert [(one.decode_us, one.predict_us, one.encode_us) for one in together] == [(4000, 2000, 1000)] * 3
        (alone,) = worker.answerer.answer([call(1)])
        assert (alone.decode_us, alone.predict_us, alone.encode_us) == (2000, 2000, 1000)


class TestOneByOne:
    def test_each_is_read_and_predicted_when_its_turn_comes(self) -> None:
        worker = Worker(merges=False)
        replies = worker.answerer.replies([call(1), call(2), call(3)])
        for number in (1, 2, 3):
            assert [reply.body for reply in next(replies)] == [b"[%d]" % number]
            assert len(worker.codec.decoded) == len(worker.model.predicted) == number
        assert list(replies) == []

    def test_one_that_fails_fails_alone(self) -> None:
        def fail(rows: list[Any]) -> list[Any]:
            if rows == [2]:
                raise ValueError("it failed")
            return rows

        worker = Worker(merges=False)
        worker.model.then = fail
        bodies = worker.bodies([call(1), call(2), call(3, refused=True), call(4)])
        assert bodies == [b"[1]", b"ValueError: it failed", b"InputError: this is refused", b"[4]"]

    def test_the_rows_of_each_are_counted(self) -> None:
        worker = Worker(merges=False)
        replies = worker.answerer.answer([call(1, 2, 3), call(), call(4)])
        assert [reply.rows for reply in replies] == [3, 0, 1]

    def test_a_codec_s_content_type_goes_with_its_answer(self) -> None:
        worker = Worker()
        replies = worker.answerer.answer([call(1, wanted="text/csv"), call(2)])
        assert [reply.content_type for reply in replies] == ["text/csv", None]


class TestDeadlines:
    @pytest.mark.parametrize("merges", [True, False])
    def test_a_call_that_is_late_or_was_dropped_is_not_executed(self, merges: bool) -> None:
        worker = Worker(merges=merges)
        replies = worker.answerer.answer([call(1, deadline=FAR), call(2, deadline=PASSED), call(3)])
        assert [reply.late for reply in replies] == [False, True, False]
        assert (replies[1].status, replies[1].body) == (504, b"")
        assert not any(2 in rows for rows, _ in worker.model.predicted)
        assert len(worker.codec.decoded) == 2

    def test_a_call_that_is_dropped_while_another_is_predicted_is_not_executed(self) -> None:
        worker = Worker(merges=False)
        calls = [call(1), call(2, deadline=FAR), call(3)]
        replies = worker.answerer.replies(calls)
        next(replies)
        calls[1].deadline = PASSED
        assert [reply.late for reply in next(replies)] == [True]
        assert [reply.late for reply in next(replies)] == [False]
        assert [rows for rows, _ in worker.model.predicted] == [[1], [3]]

    def test_a_call_that_was_read_and_waits_to_be_predicted_alone_may_be_dropped_still(self) -> None:
        worker = Worker()
        calls = [call(1), call(2), call(3, params={}, deadline=FAR), call(4, params={})]
        replies = worker.answerer.replies(calls)
        next(replies)
        calls[2].deadline = PASSED
        assert [reply.late for group in replies for reply in group] == [True, False]
        assert [rows for rows, _ in worker.model.predicted] == [[1, 2], [4]]

    def test_a_single_call_of_a_model_that_merges_may_be_late_too(self) -> None:
        worker = Worker()
        (reply,) = worker.answerer.answer([call(1, deadline=PASSED)])
        assert reply.late
        assert worker.model.predicted == []


class TestSize:
    @pytest.mark.parametrize("merges", [True, False])
    def test_an_answer_that_is_too_large_is_refused_alone(self, merges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "LARGEST_ANSWER", 6)
        worker = Worker(merges=merges)
        small, exact, large = worker.answerer.answer([call(1), call(1, 2), call(1, 2, 3)])
        assert (small.body, exact.body) == (b"[1]", b"[1, 2]")
        assert large.status == 400
        assert b"the answer is over the limit of 6 bytes; send fewer rows at a time" in large.body

    def test_so_is_an_answer_that_the_model_writes_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "LARGEST_ANSWER", 6)
        worker = Worker(mode="whole")
        small, large = worker.answerer.answer([Call(wire.MLFLOW, b"a"), Call(wire.MLFLOW, b"abcdef")])
        assert small.body == b'["a"]'
        assert b"the answer is over the limit of 6 bytes" in large.body


class TestRows:
    @pytest.mark.parametrize("wrong", [[], [1], [1, 2, 3]])
    def test_a_model_that_merges_gives_an_answer_for_every_row(self, wrong: list[int]) -> None:
        worker = Worker()
        worker.model.then = lambda rows: wrong
        (body,) = worker.bodies([call(1, 2)])
        assert body == b"ValueError: the model gave %d answers for 2 rows" % len(wrong)

    def test_a_model_that_does_not_is_taken_at_its_word(self) -> None:
        worker = Worker(merges=False)
        worker.model.then = lambda rows: [7]
        assert worker.bodies([call(1, 2)]) == [b"[7]"]


class TestWhole:
    def test_a_model_that_reads_bodies_itself_gets_them_one_by_one(self) -> None:
        worker = Worker(mode="whole")
        replies = worker.answerer.replies([Call(wire.MLFLOW, b"a"), Call(wire.MLFLOW, b"b", "text/csv")])
        assert [(one.body, one.content_type) for one in next(replies)] == [(b'["a"]', None)]
        assert [(one.body, one.content_type) for one in next(replies)] == [(b'["b"]', "text/csv")]

    def test_it_speaks_mlflow_s_protocol_only(self) -> None:
        worker = Worker(mode="whole")
        (reply,) = worker.answerer.answer([Call(wire.LEGION, b"a")])
        assert reply.status == 422
        # As it is written: what looks like a path of this machine would not reach the caller.
        said = "this model's signature is no table; call it by /invocations or by the Open Inference Protocol"
        assert json.loads(reply.body)["message"] == said

    def test_what_it_raises_is_the_answer(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(rows: list[Any]) -> Any:
            raise SystemExit(5)

        worker = Worker(mode="whole")
        worker.model.then = fail
        assert worker.bodies([Call(wire.MLFLOW, b"a")]) == [
            b"RuntimeError: the model tried to end its process (SystemExit)"
        ]
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    def test_it_is_not_asked_for_a_call_that_is_late(self) -> None:
        worker = Worker(mode="whole")
        (reply,) = worker.answerer.answer([Call(wire.MLFLOW, b"a", deadline=PASSED)])
        assert reply.late


class TestStreams:
    @pytest.mark.parametrize("merges", [True, False])
    def test_a_streamed_answer_is_begun_in_place_of_a_prediction(self, merges: bool) -> None:
        worker = Worker(merges=merges)
        worker.answerer.streams = Streams(worker.model, print, worker.answerer.failed)
        replies = worker.answerer.answer([call(1), call(2, stream=True), call(3)])
        assert [reply.stream for reply in replies] == [0, 1, 0]
        assert not any(2 in rows for rows, _ in worker.model.predicted)

    def test_a_late_call_begins_none(self) -> None:
        worker = Worker()
        worker.answerer.streams = Streams(worker.model, print, worker.answerer.failed)
        (reply,) = worker.answerer.answer([call(1, stream=True, deadline=PASSED)])
        assert (reply.late, reply.stream) == (True, 0)
