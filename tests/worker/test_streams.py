"""Streams of a worker: what is sent, in which order, how much ahead, and what ends them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest

from legion.errors import InputError
from legion.interface.model import StreamingModel
from legion.wire import COLUMNS, MLFLOW, PIECES_AHEAD, STREAMS_AT_ONCE, Allow, Call, Piece, Reply
from legion.worker.streams import Streams


class Model(StreamingModel):
    """Gives as many pieces as the body says; `hold` keeps it before the first, `closed` says that it was closed."""

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.hold.set()
        self.made = 0
        self.closed = threading.Event()

    def stream(self, body: bytes) -> Generator[Any, None, None]:
        asked = json.loads(body)
        self.hold.wait(10)
        try:
            for i in range(asked["n"]):
                if i == asked.get("fail"):
                    raise asked_for(asked)
                self.made += 1
                yield asked.get("value", i)
        finally:
            self.closed.set()


def asked_for(asked: dict[str, Any]) -> Exception:
    return InputError("this is refused") if asked.get("refuse") else ValueError("it failed")


class Parent:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent: list[Piece] = []
        self.arrived = threading.Condition()

    def send(self, message: object) -> None:
        assert isinstance(message, Piece)
        with self.arrived:
            self.sent.append(message)
            self.arrived.notify_all()

    def wait(self, condition: Callable[[list[Piece]], object]) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: condition(self.sent), 10), self.sent

    def ended(self) -> list[Piece]:
        self.wait(lambda sent: sent and sent[-1].last)
        return self.sent


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def parent() -> Parent:
    return Parent()


@pytest.fixture
def streams(model: Model, parent: Parent) -> Streams:
    def refuse(error: BaseException) -> Reply:
        return Reply(400, json.dumps({"message": f"said: {error}"}).encode())

    return Streams(model, parent.send, refuse)


def call(**asked: Any) -> Call:
    return Call(MLFLOW, json.dumps({"stream": True, **asked}).encode())


def begun(streams: Streams, **asked: Any) -> Reply:
    reply = streams.begin(call(**asked))
    assert reply is not None
    return reply


def start(streams: Streams, **asked: Any) -> int:
    reply = begun(streams, **asked)
    streams.start()
    return reply.stream


@pytest.mark.parametrize(
    "other",
    [
        Call(MLFLOW, b'{"n": 1}'),
        Call(MLFLOW, b'{"stream": false, "n": 1}'),
        Call(MLFLOW, b'{"stream": 1, "n": 1}'),
        Call(MLFLOW, b'{"text": "\\"stream\\"", "n": 1}'),
        Call(MLFLOW, b'["stream"]'),
        Call(MLFLOW, b'{"stream": true'),
        Call(MLFLOW, b'"stream",1', "text/csv"),
        Call(COLUMNS, b'{"stream": true}'),
    ],
)
def test_a_call_that_does_not_ask_for_pieces_is_left_alone(streams: Streams, other: Call) -> None:
    assert streams.begin(other) is None


def test_each_piece_is_an_event_and_the_last_says_so(
    streams: Streams, parent: Parent, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "stream", lambda body: iter_of({"a": np.array([1.0, np.inf]), "b": "é"}, twice=True))
    number = start(streams)
    first, second, last = parent.ended()
    assert first.body == 'data: {"a":[1.0,null],"b":"é"}\n\n'.encode()
    assert second.body == first.body
    assert (first.status, first.content_type) == (200, "text/event-stream; charset=utf-8")
    assert last == Piece(number, b"data: [DONE]\n\n", last=True, content_type="text/event-stream; charset=utf-8")


def test_an_answer_of_no_pieces_is_a_stream_too(streams: Streams, parent: Parent) -> None:
    start(streams, n=0)
    (only,) = parent.ended()
    assert (only.status, only.body, only.content_type) == (200, b"data: [DONE]\n\n", "text/event-stream; charset=utf-8")


@pytest.mark.parametrize("refuse", [True, False])
def test_a_failure_before_the_first_piece_is_an_ordinary_answer(streams: Streams, parent: Parent, refuse: bool) -> None:
    start(streams, n=2, fail=0, refuse=refuse)
    (only,) = parent.ended()
    assert only.status == 400
    assert json.loads(only.body) == {"message": f"said: {asked_for({'refuse': refuse})}"}


def test_a_failure_later_is_the_last_event(streams: Streams, parent: Parent) -> None:
    start(streams, n=3, fail=1)
    first, last = parent.ended()
    assert first.body == b"data: 0\n\n"
    assert last.body == b'data: {"error":"said: it failed"}\n\ndata: [DONE]\n\n'


def test_what_cannot_be_written_as_json_is_a_failure(
    streams: Streams, parent: Parent, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "stream", lambda body: iter_of(object()))
    start(streams)
    (only,) = parent.ended()
    assert only.status == 400
    assert "which JSON cannot hold" in json.loads(only.body)["message"]


def iter_of(value: Any, *, twice: bool = False) -> Iterator[Any]:
    yield value
    if twice:
        yield value


def test_no_more_is_sent_than_is_allowed(streams: Streams, parent: Parent, model: Model) -> None:
    number = start(streams, n=PIECES_AHEAD + 10)
    parent.wait(lambda sent: len(sent) == PIECES_AHEAD)
    time.sleep(0.1)
    assert len(parent.sent) == PIECES_AHEAD
    # One is made and waits.
    assert model.made == PIECES_AHEAD + 1
    streams.allow(Allow(number, 3))
    parent.wait(lambda sent: len(sent) == PIECES_AHEAD + 3)
    streams.allow(Allow(number, 100))
    assert len(parent.ended()) == PIECES_AHEAD + 11


def test_one_that_nobody_takes_any_more_is_closed(streams: Streams, parent: Parent, model: Model) -> None:
    number = start(streams, n=10**9)
    parent.wait(lambda sent: len(sent) == PIECES_AHEAD)
    streams.allow(Allow(number, 0))
    # What was on its way does not take it back.
    streams.allow(Allow(number, 5))
    assert parent.ended()[-1] == Piece(number, b"", last=True)
    assert model.closed.wait(10)
    assert model.made == PIECES_AHEAD + 1
    # Said too late it does no harm.
    streams.allow(Allow(number, 0))


def test_streams_have_numbers_of_their_own_and_run_at_once(streams: Streams, parent: Parent, model: Model) -> None:
    model.hold.clear()
    replies = [begun(streams, n=1) for _ in range(5)]
    streams.start()
    assert len({reply.stream for reply in replies}) == 5
    model.hold.set()
    parent.wait(lambda sent: sum(piece.last for piece in sent) == 5)
    assert {piece.stream for piece in parent.sent if piece.last} == {reply.stream for reply in replies}


def test_there_are_only_so_many_at_once(streams: Streams, parent: Parent, model: Model) -> None:
    model.hold.clear()
    for _ in range(STREAMS_AT_ONCE):
        assert start(streams, n=1)
    refused = begun(streams, n=1)
    assert (refused.status, refused.stream) == (429, 0)
    assert "try again" in json.loads(refused.body)["message"]
    model.hold.set()
    parent.wait(lambda sent: sum(piece.last for piece in sent) == STREAMS_AT_ONCE)
    assert begun(streams, n=1).stream
