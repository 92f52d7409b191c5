"""The walk of a request: find its model, read the body, queue it, wait, answer.

A plain ASGI callable in front of the control routes, so that a prediction passes no middleware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from legion import wire
from legion.gateway.deployments.routes import Routes, Scope
from legion.gateway.dispatch.pending import Crashed, Left, QueueFull, Receive, TooLate
from legion.gateway.http import sse
from legion.gateway.http.compression import inflate
from legion.gateway.http.exchange import Exchange, too_large
from legion.gateway.http.refusal import Refusal

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gateway:
    """Predictions go through here; every other path goes to `control`, set before the first request."""

    control: App

    def __init__(self, routes: Routes) -> None:
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        route = self.routes.find(scope) if scope["type"] == "http" else None
        if route is None:
            await self.control(scope, receive, send)
        else:
            await _predict(Exchange(scope["headers"], *route), scope, receive, send)


async def _predict(exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
    settled: wire.Reply | BaseException
    try:
        exchange.check()
        limits = exchange.deployment.limits
        body = await _read(receive, exchange.length, limits.max_body, limits.timeout)
        if exchange.encoding is not None:
            body = await inflate(body, limits.max_body, exchange.began + limits.timeout, receive)
        settled = reply = await exchange.submit(body, receive).future
        if reply.stream:
            await sse.respond(exchange, reply, scope, receive, send)
            return
    except (Left, Refusal, QueueFull, TooLate, Crashed) as reason:
        settled = reason
    answer = exchange.answer(settled)
    if answer is not None:
        status, headers, body = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _read(receive: Receive, length: int, limit: int, timeout: float) -> bytes:
    """The whole body. Raises Refusal over the limit or when it dawdles, Left when the caller goes."""
    if length > limit:
        raise too_large(limit)
    parts = bytearray()
    try:
        async with asyncio.timeout(timeout):
            while (message := await receive())["type"] != "http.disconnect":
                parts += message.get("body", b"")
                if len(parts) > limit:
                    raise too_large(limit)
                if not message.get("more_body", False):
                    return bytes(parts)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {timeout:g} s; send it faster") from None
    raise Left
