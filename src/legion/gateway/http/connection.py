"""uvicorn's HTTP/1.1 connection with bounds: on heads, trailers and pipelines, and on how long it is waited for."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httptools
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from legion.gateway.http.connections import Connections
from legion.gateway.http.refusal import Refusal
from legion.gateway.http.timeouts import Phase, Sample, Stopwatch
from legion.gateway.protocols.mlflow import MLFLOW

Headers = list[tuple[bytes, bytes]]

# A model may answer with a status that has no name.
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES = {status: b"HTTP/1.1 %d %b" % (status, _PHRASES.get(status, b"")) for status in range(200, 600)}

# The parser itself sets no bound to a head, nor to what comes between two pieces of a body.
_MAX_HEAD = 64 * 1024
_MAX_FIELDS = 256
# Requests of one connection that have been read and wait for those before them.
_MAX_PIPELINE = 256


class Connection(HttpToolsProtocol):
    """One caller's connection. `shared` is set by a subclass.

    Nothing of a trailer and no upgrade is taken, so both are as if they had not been sent.
    """

    shared: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received = 0  # bytes
        self._used = 0  # of these, when last a head was complete or a piece of a body came
        self._refusal: Refusal | None = None  # the last answer; nothing is read any more
        self._answering: Any = None  # the request that the application has; behind it others may have been read
        self._held = False  # until the caller takes the answers there are
        self._fresh = True  # until there is a whole head
        self._stopwatch = Stopwatch()
        self._buffered = self._taken = 0  # bytes of answers, when last looked at

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._fresh = self.shared.add(self, self.loop.time())
        if not self._fresh:
            self._refuse(_full(), "capacity")

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.discard(self)
        super().connection_lost(exc)
        if self._answering is not None:
            # uvicorn tells the newest request only.
            self._answering.disconnected = True
            self._answering.message_event.set()

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._received += len(data)
        try:
            self._feed(data)
        except Refusal as refusal:
            self._refuse(refusal, "malformed")
        except httptools.HttpParserError as error:
            # What a callback raised comes as the context of the parser's own error.
            cause = error.__context__
            malformed = Refusal(400, "this is not a valid HTTP/1.1 request")
            self._refuse(cause if isinstance(cause, Refusal) else malformed, "malformed")

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.scope["method"] == "CONNECT":
                    raise Refusal(501, "this is not a proxy; send the request itself") from None
                # A parser leaves the rest to the other protocol, so a new one gets a head that asks for none.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            else:
                break
        if self._received - self._used > _MAX_HEAD:
            raise _too_large()

    def _should_upgrade(self) -> bool:
        # To uvicorn: leave this head alone, `_feed` takes it from here.
        return True

    def _head_without_upgrade(self) -> bytes:
        scope = self.scope
        line = f"{scope['method']} ".encode() + self.url + f" HTTP/{scope['http_version']}\r\n".encode()
        fields = [b"%b: %b\r\n" % field for field in scope["headers"] if field[0] != b"upgrade"]
        return line + b"".join(fields) + b"\r\n"

    def on_headers_complete(self) -> None:
        if len(self.headers) > _MAX_FIELDS or (self._received - self._used > _MAX_HEAD and self._head_size > _MAX_HEAD):
            raise _too_large()
        if len(self.pipeline) >= _MAX_PIPELINE:
            raise Refusal(429, f"{_MAX_PIPELINE} requests are waiting on this connection; await their answers", 1)
        super().on_headers_complete()
        if self._fresh:
            self._fresh = False
            self.shared.begun(self)
        self._used = self._received
        self.headers = []  # the scope keeps the list there was; what follows are trailers
        if self.shared.draining and self.cycle is not None and self.cycle.scope is self.scope:
            self.cycle.keep_alive = False

    @property
    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._used = self._received
        super().on_body(body)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle

        async def quiet(scope: Any, receive: Any, send: Any) -> None:
            # Nobody is left to be told, and it is no fault of the application.
            try:
                await app(scope, receive, send)
            except ClientDisconnect:
                return

        super()._start_asgi_task(cycle, quiet)

    # Answering

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self._go_on()

    def _go_on(self) -> None:
        """Take up the next request, unless the caller is to take the answers there are first."""
        if self.flow.write_paused:
            self._held = True
            self.flow.pause_reading()
        elif self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._write_refusal(self._refusal)
        else:
            self.flow.resume_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._held:
            self._held = False
            if not self.transport.is_closing():
                self._go_on()

    def _refuse(self, refusal: Refusal, reason: str) -> None:
        """Read no more; answer what has been read so far, then this, and close."""
        self.shared.meter.count(reason)
        self._refusal = refusal
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope and cycle.more_body:
            # The newest request itself is refused.
            if self.pipeline:
                self.pipeline.popleft()
            else:
                cycle.disconnected = True
                self._write_refusal(None if cycle.response_started else refusal)
        elif cycle is None or (cycle.response_complete and not self._held):
            self._write_refusal(refusal)

    def _write(self, status: int, headers: Headers, body: bytes, *, keep_alive: bool) -> None:
        """Write a whole answer past uvicorn."""
        lines = [b": ".join(header) for header in (*self.server_state.default_headers, *headers)]
        if not keep_alive:
            lines.append(b"connection: close")
        self.transport.write(b"\r\n".join((_STATUS_LINES[status], *lines, b"", body)))

    def _write_refusal(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            body = refusal.body(MLFLOW)
            length = b"content-length", b"%d" % len(body)
            self._write(refusal.status, [*refusal.headers, length], body, keep_alive=False)
        self.transport.close()

    # Waiting

    def examine(self, now: float) -> None:
        """End the connection if it has been waited for too long; `now` is in seconds of the loop."""
        sample = self._sample()
        timeouts = self.shared.timeouts
        if not self._stopwatch.overdue(sample, now, timeouts):
            return
        phase = sample.phase
        if phase is Phase.HEAD and self.scope is not None:
            self._refuse(Refusal(408, f"the head did not arrive within {timeouts.head:g} s"), phase.value)
        elif phase is Phase.BODY:
            self._refuse(Refusal(408, f"less than {timeouts.rate} bytes a second of the body arrive"), phase.value)
        else:
            self.shared.meter.count(phase.value)
            if phase is Phase.ANSWER:
                self.transport.abort()
            else:
                self.transport.close()

    def idle(self, now: float) -> float:
        """For how many seconds, as of the last look, the head of a request has been waited for."""
        sample = self._sample()
        return self._stopwatch.elapsed(sample, now) if sample.phase in (Phase.IDLE, Phase.HEAD) else 0.0

    def make_way(self) -> None:
        """End the connection for another."""
        if self.scope is None or (self.cycle is not None and self.cycle.scope is self.scope):
            # An answer to nothing would only confuse.
            self.shared.meter.count("capacity")
            self.transport.close()
        else:
            self._refuse(_full(), "capacity")

    def _sample(self) -> Sample:
        cycle, scope = self.cycle, self.scope
        size = self.transport.get_write_buffer_size()
        self._taken += max(0, self._buffered - size)
        self._buffered = size
        if size:
            return Sample(Phase.ANSWER, None, self._taken)
        if self.transport.is_closing():
            return Sample(Phase.NOTHING)
        answered = cycle is None or cycle.response_complete
        if cycle is None or cycle.scope is not scope:
            # A caller who says nothing at all is given no longer than one who says a little.
            return Sample(Phase.HEAD, scope) if answered else Sample(Phase.NOTHING)
        if not cycle.more_body:
            return Sample(Phase.IDLE, scope) if answered else Sample(Phase.NOTHING)
        if answered:
            return Sample(Phase.DISCARD, scope)
        if self.flow.read_paused or cycle.waiting_for_100_continue:
            return Sample(Phase.NOTHING)
        return Sample(Phase.BODY, scope, self._received)


def _full() -> Refusal:
    return Refusal(503, "too many connections are open; try again in a moment", 1)


def _too_large() -> Refusal:
    return Refusal(431, f"the head or the trailers are over the limit of {_MAX_HEAD} bytes or {_MAX_FIELDS} fields")
