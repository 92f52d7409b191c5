"""Answers that come in pieces: server-sent events, each stream made by a thread of its own beside the predictions.

The events are those of MLflow's agent server: `data:` and a JSON value for each piece, an object with `error` where the
model fails on the way, and `data: [DONE]` at the end (mlflow/genai/agent_server/server.py, `_generate`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
from time import perf_counter_ns
from typing import Any, Callable, Dict, Generator, List, Optional

import msgspec

from legion.interface import result
from legion.interface.model import StreamingModel
from legion.wire import LAST_EVENT, MLFLOW, PIECES_AHEAD, STREAMS_AT_ONCE, Allow, Call, Piece, Reply

EVENTS = "text/event-stream; charset=utf-8"

Refuse = Callable[[BaseException], Reply]


class _Stream:
    """One answer on its way; `body` is the request."""

    def __init__(self, number: int, body: bytes) -> None:
        self.number = number
        self.body = body
        self.left = False
        self.allowed = threading.Semaphore(PIECES_AHEAD)

    def may_send(self) -> bool:
        """Wait until another piece may be sent; False where nobody listens any more."""
        self.allowed.acquire()
        return not self.left


class Streams:
    """Begins streams of one model, makes them, and minds what the parent allows.

    `send` may be called by any thread; `refuse` makes the answer to a request that failed before its first piece.
    """

    def __init__(self, model: StreamingModel, send: Callable[[object], None], refuse: Refuse) -> None:
        self._model = model
        self._send = send
        self._refuse = refuse
        self._numbers = itertools.count(1)
        self._begun: List[_Stream] = []
        self._running: Dict[int, _Stream] = {}

    def begin(self, call: Call) -> Optional[Reply]:
        """The number of a new stream, or None for a call that does not ask for one. `start` is to follow."""
        body = _without_stream(call)
        if body is None:
            return None
        if len(self._running) + len(self._begun) >= STREAMS_AT_ONCE:
            message = f"{STREAMS_AT_ONCE} answers are being streamed already; try again in a moment"
            error = {"error_code": "RESOURCE_EXHAUSTED", "message": message, "stack_trace": ""}
            return Reply(429, result.to_json(error))
        stream = _Stream(next(self._numbers), body)
        self._begun.append(stream)
        return Reply(200, b"", stream=stream.number)

    def start(self) -> None:
        """Make what was begun, now that the parent knows the numbers."""
        while self._begun:
            stream = self._begun.pop()
            self._running[stream.number] = stream
            threading.Thread(target=self._run, args=(stream,), name=f"stream-{stream.number}", daemon=True).start()

    def allow(self, message: Allow) -> None:
        """Let a stream go on, or end it at its next piece."""
        stream = self._running.get(message.stream)
        if stream is not None:
            stream.left = stream.left or not message.pieces
            stream.allowed.release(message.pieces or 1)

    def _run(self, stream: _Stream) -> None:
        with contextlib.closing(self._pieces(stream)) as pieces, contextlib.suppress(OSError):
            for piece in pieces:
                if not piece.last and not stream.may_send():
                    piece = Piece(stream.number, b"", last=True)
                if piece.last:
                    del self._running[stream.number]
                # Fails where the parent is gone, and then this process goes too.
                self._send(piece)
                if piece.last:
                    return

    def _pieces(self, stream: _Stream) -> Generator[Piece, None, None]:
        began = perf_counter_ns()
        sent = False
        try:
            with contextlib.closing(self._model.stream(stream.body)) as values:
                for value in values:
                    microseconds = (perf_counter_ns() - began) // 1000
                    yield Piece(stream.number, _event(value), content_type=EVENTS, predict_us=microseconds)
                    sent = True
            last = Piece(stream.number, LAST_EVENT, last=True, content_type=EVENTS)
        except GeneratorExit:
            return
        except BaseException as error:
            refusal = self._refuse(error)
            if sent:
                event = _event({"error": msgspec.json.decode(refusal.body)["message"]})
                last = Piece(stream.number, event + LAST_EVENT, last=True)
            else:
                last = Piece(stream.number, refusal.body, last=True, status=refusal.status)
        yield last


def _without_stream(call: Call) -> Optional[bytes]:
    """The request without its `stream: true`, or None where it has none."""
    if call.protocol != MLFLOW or b'"stream"' not in call.body:
        return None
    try:
        document = msgspec.json.decode(call.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(document, dict) or document.pop("stream", None) is not True:
        return None
    return msgspec.json.encode(document)


def _event(value: Any) -> bytes:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return b"data: %b\n\n" % result.to_json(result.items_of(value))
