"""Streams of a worker: what is sent, in which order, how much ahead, and what ends them."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from legion.errors import InputError
from legion.wire import COLUMNS, MLFLOW, PIECES_AHEAD, STREAMS_AT_ONCE, Allow, Call, Piece, Reply
from legion.worker.streams import Streams


class Model:
    """Gives as many pieces as the body says; `hold` keeps it before the first, `closed` says that it was closed."""

    def __init__(self):
        self.hold = threading.Event()
        self.hold.set()
        self.made = 0
        self.closed = threading.Event()

    def stream(self, body):
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


def asked_for(asked):
    return InputError("this is refused") if asked.get("refuse") else ValueError("it failed")


class Parent:
    """Takes what is sent."""

    def __init__(self):
        self.sent = []
        self.arrived = threading.Condition()

    def send(self, message):
        with self.arrived:
            self.sent.append(message)
            self.arrived.notify_all()

    def wait(self, condition):
        with self.arrived:
            assert self.arrived.wait_for(lambda: condition(self.sent), 10), self.sent

    def ended(self):
        self.wait(lambda sent: sent and sent[-1].last)
        return self.sent


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def parent():
    return Parent()


@pytest.fixture
def streams(model, parent):
    def refuse(error):
        return Reply(400, json.dumps({"message": f"said: {error}"}).encode())

    return Streams(model, parent.send, refuse)


def call(**asked):
    return Call(MLFLOW, json.dumps({"stream": True, **asked}).encode())


def start(streams, **asked):
    reply = streams.begin(call(**asked))
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
def test_a_call_that_does_not_ask_for_pieces_is_left_alone(streams, other):
    assert streams.begin(other) is None


def test_each_piece_is_an_event_and_the_last_says_so(streams, parent, model):
    model.stream = lambda body: iter_of({"a": np.array([1.0, np.inf]), "b": "é"}, twice=True)
    number = start(streams)
    first, second, last = parent.ended()
    assert first.body == 'data: {"a":[1.0,null],"b":"é"}\n\n'.encode()
    assert second.body == first.body
    assert (first.status, first.content_type) == (200, "text/event-stream; charset=utf-8")
    assert last == Piece(number, b"data: [DONE]\n\n", last=True, content_type="text/event-stream; charset=utf-8")


def test_an_answer_of_no_pieces_is_a_stream_too(streams, parent):
    start(streams, n=0)
    (only,) = parent.ended()
    assert (only.status, only.body, only.content_type) == (200, b"data: [DONE]\n\n", "text/event-stream; charset=utf-8")


@pytest.mark.parametrize("refuse", [True, False])
def test_a_failure_before_the_first_piece_is_an_ordinary_answer(streams, parent, refuse):
    start(streams, n=2, fail=0, refuse=refuse)
    (only,) = parent.ended()
    assert only.status == 400
    assert json.loads(only.body) == {"message": f"said: {asked_for({'refuse': refuse})}"}


def test_a_failure_later_is_the_last_event(streams, parent):
    start(streams, n=3, fail=1)
    first, last = parent.ended()
    assert first.body == b"data: 0\n\n"
    assert last.body == b'data: {"error":"said: it failed"}\n\ndata: [DONE]\n\n'


def test_what_cannot_be_written_as_json_is_a_failure(streams, parent, model):
    model.stream = lambda body: iter_of(object())
    start(streams)
    (only,) = parent.ended()
    assert only.status == 400
    assert "which JSON cannot hold" in json.loads(only.body)["message"]


def iter_of(value, *, twice=False):
    yield value
    if twice:
        yield value


def test_no_more_is_sent_than_is_allowed(streams, parent, model):
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


def test_one_that_nobody_takes_any_more_is_closed(streams, parent, model):
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


def test_streams_have_numbers_of_their_own_and_run_at_once(streams, parent, model):
    model.hold.clear()
    replies = [streams.begin(call(n=1)) for _ in range(5)]
    streams.start()
    assert len({reply.stream for reply in replies}) == 5
    model.hold.set()
    parent.wait(lambda sent: sum(piece.last for piece in sent) == 5)
    assert {piece.stream for piece in parent.sent if piece.last} == {reply.stream for reply in replies}


def test_there_are_only_so_many_at_once(streams, parent, model):
    model.hold.clear()
    for _ in range(STREAMS_AT_ONCE):
        assert start(streams, n=1)
    refused = streams.begin(call(n=1))
    assert (refused.status, refused.stream) == (429, 0)
    assert "try again" in json.loads(refused.body)["message"]
    model.hold.set()
    parent.wait(lambda sent: sum(piece.last for piece in sent) == STREAMS_AT_ONCE)
    assert streams.begin(call(n=1)).stream
