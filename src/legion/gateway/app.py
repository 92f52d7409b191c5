"""The walk of a request: find its model, read the body, queue it, wait, answer.

A plain ASGI callable in front of the control routes, so that a prediction passes no middleware.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from legion import wire
from legion.gateway import event_stream
from legion.gateway.deployment import Deployment
from legion.gateway.encoding import inflated
from legion.gateway.exchange import Exchange, too_large
from legion.gateway.pending import Crashed, Left, Receive, TooLate
from legion.gateway.pool import QueueFull
from legion.gateway.refusal import Refusal

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Route = tuple[Deployment, int]

_PATHS = (("/invocations", wire.MLFLOW), ("/api/model/invoke", wire.LEGION))
_INFER = re.compile(r"/v2/models/([A-Za-z0-9_-]{1,63})/versions/([A-Za-z0-9._-]{1,140})/infer")


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
            routes[f"/v2/models/{deployment.name}/infer"] = (deployment, wire.OPEN_INFERENCE)
        self._routes = routes

    def route(self, scope: Scope) -> Route | None:
        """The model that this request is a prediction of, and the protocol it speaks."""
        if scope["method"] != "POST":
            return None
        path = scope["path"]
        route = self._routes.get(path)
        if route is None and path.startswith("/v2/"):
            # A version by name is rare, and which there are changes with every swap.
            found = _INFER.fullmatch(path)
            route = self._routes.get(f"/v2/models/{found[1]}/infer") if found else None
            if route is not None and found is not None and not route[0].has(found[2]):
                return None
        return route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        route = self.route(scope) if scope["type"] == "http" else None
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
            body = await asyncio.to_thread(inflated, body, limits.max_body)
        settled = reply = await exchange.submit(body, receive).future
        if reply.stream:
            await event_stream.respond(exchange, reply, scope, receive, send)
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
