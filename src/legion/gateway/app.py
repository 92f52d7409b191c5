"""The walk of a request: find its model, read the body, queue it, wait, answer.

A plain ASGI callable in front of the control routes, so that a prediction passes no middleware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from legion import wire
from legion.gateway.deployment import Deployment
from legion.gateway.exchange import Exchange, too_large
from legion.gateway.pending import Crashed, Left, Receive, TooLate
from legion.gateway.pool import QueueFull
from legion.gateway.refusal import Refusal

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Route = tuple[Deployment, int]

_PATHS = (("/invocations", wire.MLFLOW), ("/api/model/invoke", wire.LEGION))


class Gateway:
    """Predictions go through here; every other path goes to `control`, set before the first request."""

    control: App

    def __init__(self) -> None:
        self._deployments: list[Deployment] = []
        self._routes: dict[str, Route] = {}

    def mount(self, deployment: Deployment) -> None:
        """Answer under /models/{name}; a deployment that is alone answers at the root as well."""
        self._deployments.append(deployment)
        self._rebuild()

    def unmount(self, deployment: Deployment) -> None:
        """Take no more requests for it."""
        self._deployments.remove(deployment)
        self._rebuild()

    def _rebuild(self) -> None:
        routes = {}
        for deployment in self._deployments:
            for path, protocol in _PATHS:
                routes[f"/models/{deployment.name}{path}"] = (deployment, protocol)
                if len(self._deployments) == 1:
                    routes[path] = (deployment, protocol)
        self._routes = routes

    def route(self, scope: Scope) -> Route | None:
        """The model that this request is a prediction of, and the protocol it speaks."""
        return self._routes.get(scope["path"]) if scope["method"] == "POST" else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        route = self.route(scope) if scope["type"] == "http" else None
        if route is None:
            await self.control(scope, receive, send)
        else:
            await _predict(Exchange(scope["headers"], *route), receive, send)


async def _predict(exchange: Exchange, receive: Receive, send: Send) -> None:
    settled: wire.Reply | BaseException
    try:
        limits = exchange.deployment.limits
        body = await _read(receive, exchange.length, limits.max_body, limits.timeout)
        settled = await exchange.submit(body, receive).future
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
