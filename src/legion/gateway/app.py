"""The walk of a request: find its model, read the body, queue it, wait, answer.

A plain ASGI callable in front of the control routes, so that a prediction passes no middleware.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from legion import wire
from legion.gateway.deployment import Deployment
from legion.gateway.pending import Crashed, Left, TooLate
from legion.gateway.pool import QueueFull
from legion.gateway.refusal import Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON = (b"content-type", b"application/json")


class Gateway:
    """Predictions go through here; every other path goes to `control`."""

    def __init__(self, control: App) -> None:
        self._control = control
        self.routes: dict[str, tuple[Deployment, int]] = {}
        self._prefix = secrets.token_hex(6)
        self._count = itertools.count()

    def mount(self, path: str, deployment: Deployment, protocol: int) -> None:
        """Answer POST on this path with this model."""
        self.routes[path] = (deployment, protocol)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "http" and scope["method"] == "POST":
            route = self.routes.get(scope["path"])
            if route is not None:
                await self._predict(scope, receive, send, *route)
                return
        await self._control(scope, receive, send)

    async def _predict(self, scope: Scope, receive: Receive, send: Send, deployment: Deployment, protocol: int) -> None:
        request_id, content_type, length, encoding = self._headers(scope["headers"])
        pool = deployment.pool
        arrived = pool.now()
        try:
            if encoding is not None:
                raise Refusal(415, f"the content encoding {encoding!r} is not read here; send the body as it is")
            body = await _read(receive, length, pool.limits.max_body, pool.limits.timeout)
            pending = pool.submit(wire.Call(protocol, body, content_type), receive)
            reply = await pending.future
        except Left:
            deployment.meter.answer(499, pool.now() - arrived)
            return
        except (Refusal, QueueFull, TooLate, Crashed) as error:
            refusal = Refusal.of(error, pool.limits)
            status, body, extra = refusal.status, refusal.body(protocol), refusal.headers
        else:
            status, body = reply.status, reply.body
            extra = (
                _JSON if reply.content_type is None else (b"content-type", reply.content_type.encode()),
                (
                    b"server-timing",
                    b"queue;dur=%.3f, decode;dur=%.3f, predict;dur=%.3f, encode;dur=%.3f"
                    % (
                        (pending.sent - pending.arrived) * 1e3,
                        reply.decode_us / 1e3,
                        reply.predict_us / 1e3,
                        reply.encode_us / 1e3,
                    ),
                ),
            )
            deployment.meter.rows += reply.rows
        deployment.meter.answer(status, pool.now() - arrived)
        headers = [
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
            *deployment.headers,
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, str | None, int, str | None]:
        """Request id (kept or made), content type (None for plain JSON), length (-1 if unsaid), encoding."""
        request_id, content_type, length, encoding = b"", None, -1, None
        for name, value in headers:
            if name == b"content-type":
                content_type = None if value == b"application/json" else value.decode("latin-1")
            elif name == b"content-length":
                length = int(value)
            elif name in (b"x-request-id", b"request-id"):
                request_id = value
            elif name == b"content-encoding" and value.lower() != b"identity":
                encoding = value.decode("latin-1")[:40]
        if not request_id or len(request_id) > 128:
            request_id = b"%s-%x" % (self._prefix.encode(), next(self._count))
        return request_id, content_type, length, encoding


async def _read(receive: Receive, length: int, limit: int, timeout: float) -> bytes:
    """The whole body. Raises Refusal over the limit, Left when the caller goes, and 408 when it dawdles."""
    if length > limit:
        raise Refusal(413, f"the body is over the limit of {limit} bytes; send fewer rows at a time")
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False) and len(body) <= limit:
        return body
    parts = bytearray(body)
    try:
        async with asyncio.timeout(timeout):
            while True:
                if message["type"] == "http.disconnect":
                    raise Left
                if len(parts) > limit:
                    raise Refusal(413, f"the body is over the limit of {limit} bytes; send fewer rows at a time")
                if not message.get("more_body", False):
                    return bytes(parts)
                message = await receive()
                parts += message.get("body", b"")
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {timeout:g} s; send it faster") from None
