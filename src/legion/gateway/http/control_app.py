"""What the applications of all paths but the predictions share: answers in JSON, small bodies, and no redirects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Router

from legion.gateway.http.refusal import PASSING

# Characters of a path that a refusal repeats.
_LONGEST = 200


def control_app(routes: Sequence[BaseRoute], error: Callable[[int, str], object]) -> Starlette:
    """An application whose refusals have the JSON of `error(status, message)` as their body."""

    async def fault(request: Request, refused: Exception) -> Response:
        assert isinstance(refused, HTTPException)
        message = refused.detail
        if refused.status_code == 404 and message == "Not Found":
            message = f"{path_of(request)} is not served here; see /docs"
        response = json_response(error(refused.status_code, message), refused.status_code)
        response.headers.update(refused.headers or {})
        return response

    app = Starlette(routes=routes, exception_handlers={HTTPException: fault})
    _refuse_redirects(app.router)
    return app


def sub_router(routes: Sequence[BaseRoute]) -> Router:
    """Routes to be mounted within such an application."""
    router = Router(routes)
    _refuse_redirects(router)
    return router


def _refuse_redirects(router: Router) -> None:
    # A path with a slash too many would be sent to whatever host the caller named.
    router.redirect_slashes = False


def json_response(value: object, status: int = 200) -> Response:
    """The value as JSON; a status that may pass says when to try again."""
    headers = {"retry-after": "1"} if status in PASSING else None
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def path_of(request: Request) -> str:
    """The path that was asked for, for a message. Unlike `request.url` it does not depend on the Host header."""
    path: str = request.scope["path"]
    return path if len(path) <= _LONGEST else f"{path[:_LONGEST]}…"


async def small_body(request: Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes. Raises HTTPException (413)."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise HTTPException(413, f"the body is over the limit of {limit} bytes")
    return bytes(body)
