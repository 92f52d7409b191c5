"""The admin API: deployments put up, looked at, rolled back and taken down. Behind a token.

A browser page of another origin gets nothing, even should it know the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from legion.errors import RefusedError
from legion.gateway.deployments.declaration import read_json
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.fleet import Fleet
from legion.gateway.limits import MIB
from legion.gateway.management import views

_MAX_BODY = MIB
_LOCAL = ("localhost", "127.0.0.1", "::1")

Endpoint = Callable[[Request], Awaitable[Response]]


class Admin:
    """`host` is the address that is listened on, `token` what every request must carry."""

    def __init__(self, fleet: Fleet, token: str, host: str) -> None:
        self._fleet = fleet
        self._token = token
        self._host = host

    def app(self) -> Starlette:
        """The ASGI application, to be mounted at /admin."""
        one = "/deployments/{name}"
        routes = [
            Route("/deployments", self._guarded(self.listed)),
            Route(one, self._guarded(self.shown)),
            Route(one, self._guarded(self.put), methods=["PUT"]),
            Route(one, self._guarded(self.removed), methods=["DELETE"]),
            Route(f"{one}/rollback", self._guarded(self.rolled_back), methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _fault})

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            self._check(request)
            return await endpoint(request)

        return guarded

    def _check(self, request: Request) -> None:
        """Raise 401 or 403 unless the request may do what it asks for."""
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if _is_loopback(self._host) and host not in _LOCAL:
            raise HTTPException(403, f"the host {host!r} is not this gateway's; ask it by the address it listens on")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "requests from another origin are not taken here")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise HTTPException(401, "the admin API wants the gateway's token; set LEGION_ADMIN_TOKEN")
        if not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise HTTPException(403, "this is not the gateway's token; set LEGION_ADMIN_TOKEN")

    async def listed(self, request: Request) -> Response:
        """Every deployment."""
        return _json({"deployments": [views.of(one) for one in self._fleet.deployments.values()]})

    async def shown(self, request: Request) -> Response:
        """One deployment."""
        return _json(views.of(self._named(request)))

    async def put(self, request: Request) -> Response:
        """Accept a declaration; 202 at once, the work goes on."""
        name = request.path_params["name"]
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _MAX_BODY:
                raise HTTPException(413, f"a declaration holds at most {_MAX_BODY} bytes")
        try:
            declaration = read_json(bytes(body), name, name)
        except RefusedError as error:
            raise HTTPException(400, str(error)) from None
        try:
            deployment = self._fleet.put(declaration)
        except OSError as error:
            raise HTTPException(507, f"{name} cannot be kept on disk ({error.strerror}); nothing was changed") from None
        return _json(views.of(deployment), 202)

    async def removed(self, request: Request) -> Response:
        """Take a deployment down; answers when it is drained."""
        deployment = self._named(request)
        last = views.of(deployment, stopping=True)
        await self._fleet.remove(deployment.name)
        return _json(last)

    async def rolled_back(self, request: Request) -> Response:
        """Back to the release before."""
        deployment = self._named(request)
        body = await request.body()
        try:
            wished = msgspec.json.decode(body, type=_Rollback) if body.strip() else _Rollback()
        except msgspec.DecodeError as error:
            raise HTTPException(400, f'the body must be {{"variant": NAME}} or empty ({error})') from None
        try:
            before = self._fleet.rollback(deployment.name, wished.variant)
        except KeyError:
            raise HTTPException(404, f"{deployment.name} has no variant {wished.variant!r}") from None
        if before is None:
            raise HTTPException(409, f"{deployment.name} has served no other version to go back to")
        return _json(views.of(deployment))

    def _named(self, request: Request) -> Deployment:
        name = request.path_params["name"]
        deployment = self._fleet.deployments.get(name)
        if deployment is None:
            raise HTTPException(404, f"there is no deployment {name!r}; see GET /admin/deployments")
        return deployment


class _Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    variant: str | None = None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = "there is nothing at this path" if error.detail == "Not Found" else error.detail
    response = _json({"error": detail}, error.status_code)
    response.headers.update(error.headers or {})
    if error.status_code == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response
