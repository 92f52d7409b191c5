"""The short way in: a prediction whose whole request came in one read is queued straight from the parser.

No task, no ASGI messages; all else (larger bodies, slow callers, every other path) goes uvicorn's way.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from legion.gateway.deployments.routes import Route
from legion.gateway.dispatch.pending import Left, Unanswered
from legion.gateway.http import sse
from legion.gateway.http.app import Gateway
from legion.gateway.http.connection import Connection
from legion.gateway.http.connections import Connections
from legion.gateway.http.exchange import Exchange
from legion.gateway.http.refusal import Refusal
from legion.wire import Reply


class FastPathConnection(Connection):
    """A connection with a shorter path to the queue."""

    gateway: Gateway

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
        super().data_received(data)
        self._decide()

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
    return type("GatewayConnection", (FastPathConnection,), {"gateway": gateway, "shared": connections})
