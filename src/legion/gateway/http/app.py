"""The walk of a request: find its model, read the body, queue it, wait, answer.

A plain ASGI callable in front of the control routes, so that a prediction passes no middleware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from legion import wire
from legion.gateway.deployments.routes import Routes, Scope
from legion.gateway.dispatch.pending import Left, Receive, Unanswered
from legion.gateway.http import compression, sse
from legion.gateway.http.exchange import Answer, Exchange
from legion.gateway.http.inflating import Inflating
from legion.gateway.http.refusal import Refusal
from legion.gateway.memory_budget import MemoryBudget

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gateway:
    """Predictions go through here; every other path goes to `control`, set before the first request."""

    control: App

    def __init__(self, routes: Routes, budget: MemoryBudget) -> None:
        self.routes = routes
        self.budget = budget
        self.inflating = Inflating(budget)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        route = self.routes.find(scope) if scope["type"] == "http" else None
        if route is None:
            await self.control(scope, receive, send)
            return
        exchange = Exchange(scope["headers"], route, self.budget)
        try:
            await self._predict(exchange, scope, receive, send)
        finally:
            exchange.close()

    async def _predict(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        settled: wire.Reply | BaseException
        try:
            encoding = exchange.admit(compression.KNOWN)
            body = self._body(exchange, receive, inflate=encoding is not None)
            settled = reply = await exchange.submit(await body, receive).future
            if reply.stream:
                await sse.respond(exchange, reply, scope, receive, send)
                return
        except (Left, Refusal, Unanswered) as reason:
            # Without its frames, which have the body and would keep it until the garbage is collected.
            settled = reason.with_traceback(None)
            settled.__context__ = None
        answer = exchange.answer(settled)
        if answer is not None:
            await _respond(answer, send)

    async def _body(self, exchange: Exchange, receive: Receive, *, inflate: bool) -> bytes:
        """The whole body. Raises Refusal where it must not or does not come, Left when the caller goes."""
        limits = exchange.deployment.limits
        try:
            async with asyncio.timeout_at(exchange.deadline):
                body = await _read(exchange, receive)
                if inflate:
                    body = await self.inflating.inflate(body, limits.max_body, exchange.deadline, receive)
                return body
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {limits.timeout:g} s; send it faster") from None


async def _read(exchange: Exchange, receive: Receive) -> bytes:
    """The body as it is sent, counted piece by piece. Raises Refusal for more than fits, Left when the caller goes."""
    parts = bytearray()
    while (message := await receive())["type"] != "http.disconnect":
        part = message.get("body", b"")
        exchange.hold(len(parts) + len(part))
        parts += part
        if not message.get("more_body", False):
            return bytes(parts)
    raise Left


async def _respond(answer: Answer, send: Send) -> None:
    """Send the answer; returns when the connection has room again, so nearly all of a large one has been taken."""
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
