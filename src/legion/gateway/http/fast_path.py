"""The short way in: a prediction whose whole request came in one read is queued straight from the parser.

No task, no ASGI messages; all else (larger bodies, slow callers, every other path) goes uvicorn's way. A request whose
head was read before does not even pass the parser.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from legion.gateway.deployments.routes import Route
from legion.gateway.dispatch.pending import Left, Unanswered
from legion.gateway.http import sse
from legion.gateway.http.app import Gateway
from legion.gateway.http.connection import Connection
from legion.gateway.http.connections import Connections
from legion.gateway.http.exchange import Exchange
from legion.gateway.http.heads import Head, Heads
from legion.gateway.http.refusal import Refusal
from legion.wire import Reply


class FastPathConnection(Connection):
    """A connection with a shorter path to the queue."""

    gateway: Gateway
    heads: Heads

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._undecided: tuple[Any, Any, Route] | None = None
        self._exchange: Exchange | None = None
        # Whose answer the connection has not taken yet; none follows it until it has.
        self._unread: Exchange | None = None

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        # Asked when the headers are there; whether the body is too shows when the read is parsed.
        route = self.gateway.routes.find(cycle.scope) if self._undecided is None else None
        if route is not None:
            self._undecided = cycle, app, route
        else:
            super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        # Between two requests, that is; nothing of the next one is with the parser.
        between = (
            cycle is not None
            and cycle.response_complete
            and cycle.scope is self.scope
            and not (cycle.more_body or self._held or self.shared.draining)
            and self._refusal is None
            and cycle.keep_alive
        )
        if between and (found := self.heads.find(data)) is not None:
            self._received = self._used = self._received + len(data)
            self._begin(*found)
        else:
            super().data_received(data)
            if between and self._undecided is not None:
                self._learn(data)
        if self._undecided is not None:
            self._decide()

    def _begin(self, head: Head, body: bytes) -> None:
        """What the parser and uvicorn would do with such a request."""
        scope: Any = {**head.scope, "server": self.server, "client": self.client, "state": {}}
        self.scope = scope
        self.cycle = cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.body += body
        cycle.more_body = False
        cycle.message_event.set()
        self._start_asgi_task(cycle, self.app)

    def _learn(self, data: bytes) -> None:
        """This began with a prediction; if it is one and no more, its head means the same whenever it comes."""
        cycle = self.cycle
        if cycle.scope is self.scope and cycle.keep_alive and not (cycle.more_body or cycle.waiting_for_100_continue):
            self.heads.learn(data, cycle.scope, len(cycle.body))

    def _go_on(self) -> None:
        super()._go_on()
        if self._undecided is not None:
            # Pipelined behind this one; no read will bring it up.
            self.loop.call_soon(self._decide)

    def _decide(self) -> None:
        while self._undecided is not None:
            cycle, app, route = self._undecided
            self._undecided = None
            if self.transport.is_closing():
                return
            if cycle.more_body or cycle.waiting_for_100_continue:
                super()._start_asgi_task(cycle, app)
            else:
                self._predict(cycle, app, route)

    def _predict(self, cycle: Any, app: Any, route: Route) -> None:
        exchange = Exchange(cycle.scope["headers"], route, self.gateway.budget)
        if exchange.encoding is not None or self.flow.write_paused:
            # Inflating takes its time; so does a caller that has not read the answers before.
            super()._start_asgi_task(cycle, app)
            return
        body = bytes(cycle.body)
        cycle.body.clear()
        try:
            pending = exchange.submit(body, None)
        except (Refusal, Unanswered) as reason:
            self._answer(cycle, exchange, reason)
        else:
            self._exchange = exchange
            pending.future.add_done_callback(partial(self._settled, cycle, exchange))

    def _settled(self, cycle: Any, exchange: Exchange, future: asyncio.Future[Reply]) -> None:
        self._exchange = None
        settled = future.exception() or future.result()
        if isinstance(settled, Reply) and settled.stream:
            super()._start_asgi_task(cycle, partial(sse.respond, exchange, settled))
        else:
            self._answer(cycle, exchange, settled)

    def _answer(self, cycle: Any, exchange: Exchange, settled: Reply | BaseException) -> None:
        answer = exchange.answer(settled)
        if answer is None or cycle.disconnected or self.transport.is_closing():
            exchange.close()
            return
        status, headers, body = answer
        self._write(status, headers, body, keep_alive=cycle.keep_alive)
        if self.flow.write_paused:
            self._unread = exchange
        else:
            exchange.close()
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def resume_writing(self) -> None:
        # First, since the next answer may be written at once.
        self._close_unread()
        super().resume_writing()

    def _close_unread(self) -> None:
        """The last answer has been taken, or nobody will."""
        if self._unread is not None:
            self._unread.close()
            self._unread = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._close_unread()
        if self._exchange is not None and self._exchange.pending is not None:
            self._exchange.pending.fail(Left())


def protocol_for(gateway: Gateway, connections: Connections) -> type[FastPathConnection]:
    """The protocol class of this gateway's connections."""
    attributes = {"gateway": gateway, "shared": connections, "heads": Heads()}
    return type("GatewayConnection", (FastPathConnection,), attributes)
