"""The admin API: deployments put up, looked at, rolled back and taken down. Behind a token.

A browser page of another origin gets nothing, even should it know the token.
"""

from __future__ import annotations

import asyncio
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
from legion.gateway.http.control_app import control_app, json_response, small_body
from legion.gateway.limits import MIB
from legion.gateway.management import views

# Bytes of a body.
_LARGEST = MIB
# Characters of a caller's text that a refusal repeats.
_SHOWN = 200
_LOCAL = ("localhost", "127.0.0.1", "::1")

Endpoint = Callable[[Request], Awaitable[Response]]


class Admin:
    """`host` is the address that is listened on, `token` what every request must carry."""

    def __init__(self, fleet: Fleet, token: str, host: str) -> None:
        self._fleet = fleet
        self._token = token
        self._host = host
        self._reading = asyncio.Lock()

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
        return control_app(routes, _error)

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            self._check(request)
            return await endpoint(request)

        return guarded

    def _check(self, request: Request) -> None:
        """Raise 401 or 403 unless the request may do what it asks for."""
        named = request.headers.get("host", "")
        host = _host_of(f"//{named}")
        if _is_loopback(self._host) and host not in _LOCAL:
            raise HTTPException(
                403, f"the host {named[:_SHOWN]!r} is not this gateway's; ask it by the address it listens on"
            )
        origin = request.headers.get("origin")
        if origin is not None and (_host_of(origin) is None or urlsplit(origin).netloc != named):
            raise HTTPException(403, "requests from another origin are not taken here")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise HTTPException(
                401,
                "the admin API wants the gateway's token; set LEGION_ADMIN_TOKEN",
                {"www-authenticate": "Bearer"},
            )
        if not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise HTTPException(403, "this is not the gateway's token; set LEGION_ADMIN_TOKEN")

    async def listed(self, request: Request) -> Response:
        """Every deployment."""
        return json_response({"deployments": [views.of(one) for one in self._fleet.deployments.values()]})

    async def shown(self, request: Request) -> Response:
        """One deployment."""
        return json_response(views.of(self._named(request)))

    async def put(self, request: Request) -> Response:
        """Accept a declaration; 202 at once, the work goes on."""
        name = request.path_params["name"]
        body = await small_body(request, _LARGEST)
        try:
            # Reading a large one takes a while, which predictions do not have to wait for; the next declaration does.
            async with self._reading:
                declaration = await asyncio.to_thread(read_json, body, name, name)
        except RefusedError as error:
            raise HTTPException(400, str(error)) from None
        try:
            deployment = self._fleet.put(declaration)
        except OSError as error:
            raise HTTPException(507, f"{name} cannot be kept on disk ({error.strerror}); nothing was changed") from None
        return json_response(views.of(deployment), 202)

    async def removed(self, request: Request) -> Response:
        """Take a deployment down; answers when it is drained."""
        deployment = self._named(request)
        last = views.of(deployment, stopping=True)
        await self._fleet.remove(deployment.name)
        return json_response(last)

    async def rolled_back(self, request: Request) -> Response:
        """Back to the release before."""
        deployment = self._named(request)
        body = await small_body(request, _LARGEST)
        try:
            wished = msgspec.json.decode(body, type=_Rollback) if body.strip() else _Rollback()
        except (msgspec.DecodeError, RecursionError) as error:
            raise HTTPException(400, f'the body must be {{"variant": NAME}} or empty ({str(error)[:_SHOWN]})') from None
        try:
            before = self._fleet.rollback(deployment.name, wished.variant)
        except KeyError:
            raise HTTPException(404, f"{deployment.name} has no variant {str(wished.variant)[:_SHOWN]!r}") from None
        if before is None:
            raise HTTPException(409, f"{deployment.name} has served no other version to go back to")
        return json_response(views.of(deployment))

    def _named(self, request: Request) -> Deployment:
        name = request.path_params["name"]
        deployment = self._fleet.deployments.get(name)
        if deployment is None:
            raise HTTPException(404, f"there is no deployment {name[:_SHOWN]!r}; see GET /admin/deployments")
        return deployment


class _Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    variant: str | None = None


def _host_of(url: str) -> str | None:
    """The host of a URL, or None where it is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _error(status: int, message: str) -> dict[str, str]:
    return {"error": message}
