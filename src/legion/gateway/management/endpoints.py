"""Every path that is no prediction: health, what the model is, the docs page, metrics."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from legion.gateway.deployments.deployment import Deployment
from legion.gateway.http.connections import Connections
from legion.gateway.http.control_app import control_app, json_response, path_of, sub_router
from legion.gateway.management import document
from legion.gateway.memory_budget import MemoryBudget
from legion.gateway.metrics import Metrics
from legion.gateway.open_inference.endpoints import OpenInferenceEndpoints
from legion.gateway.protocols import mlflow
from legion.gateway.protocols.table import PROTOCOLS

Deployments = Callable[[], list[Deployment]]

# The package swagger-ui-py and its folder of assets; found, not imported.
_ASSETS = ("swagger_ui", "static")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{assets}/swagger-ui.css">
<link rel="icon" href="{assets}/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({{url: "{document}", dom_id: "#swagger-ui", tryItOutEnabled: true, validatorUrl: null}});
</script>
</body>
</html>
"""


class Management:
    """The control routes over the deployments that the function gives; `admin` is mounted at /admin.

    While the connections are draining, nothing is ready.
    """

    def __init__(
        self,
        deployments: Deployments,
        connections: Connections,
        budget: MemoryBudget,
        admin: ASGIApp | None = None,
    ) -> None:
        self._deployments = deployments
        self._connections = connections
        self._admin = [] if admin is None else [Mount("/admin", app=admin)]
        readings = lambda: (reading for one in deployments() for reading in one.readings())  # noqa: E731
        self._metrics = Metrics(readings, budget, connections.meter)

    def app(self) -> Starlette:
        """The ASGI application."""
        inference = OpenInferenceEndpoints(self._deployments, self._connections)
        own = [
            Route("/ping", self.ping),
            Route("/health", self.ping),
            Route("/version", self.version),
            Route("/api/model/info", self.info),
            Route("/openapi.json", self.openapi),
            Route("/docs", self.docs),
            # What can be predicted was taken before it came here.
            *(Route(one.path_alone, self.not_predicted, methods=["POST"]) for one in PROTOCOLS if one.path_alone),
        ]
        routes: list[BaseRoute] = [
            Route("/", lambda request: RedirectResponse("docs")),
            *own,
            Route("/healthcheck", self.healthcheck),
            Route("/metrics", self.metrics),
            Mount("/docs/assets", StaticFiles(packages=[_ASSETS])),
            Mount("/models/{name}", app=sub_router(own)),
            Route("/v2", inference.server),
            Mount("/v2", app=inference.app()),
            *self._admin,
        ]
        return control_app(routes, mlflow.error)

    @property
    def _default(self) -> Deployment | None:
        deployments = self._deployments()
        return deployments[0] if len(deployments) == 1 else None

    def _named(self, request: Request) -> list[Deployment]:
        """The model that the path names, or all of them."""
        name = request.path_params.get("name")
        if name is None:
            return self._deployments()
        found = [deployment for deployment in self._deployments() if deployment.name == name]
        if not found:
            names = ", ".join(deployment.name for deployment in self._deployments())
            there = f"there are {names}" if names else "nothing is deployed yet"
            raise HTTPException(404, f"no model {name!r} is served here; {there}")
        return found

    async def ping(self, request: Request) -> Response:
        """200 once what is served is warm, else 503; 503 again as soon as the server is to end."""
        ready = self._ready(request)
        headers = None if ready else {"retry-after": "1"}
        return Response("\n", 200 if ready else 503, headers, "application/json")

    async def healthcheck(self, request: Request) -> Response:
        """The same in Legion's REST."""
        ready = self._ready(request)
        return json_response({"status": ready}, 200 if ready else 503)

    def _ready(self, request: Request) -> bool:
        """Of a model that the path names: whether it answers. Else whether all do; a refused one holds up no other."""
        found = self._named(request)
        if self._connections.draining:
            return False
        if "name" in request.path_params:
            return found[0].ready
        return all(one.ready for one in found if one.releases or one.awaited)

    async def version(self, request: Request) -> Response:
        """The version of MLflow in the model's environment, as plain text."""
        releases = [deployment.release for deployment in self._named(request)]
        versions = [release.pool.report.mlflow_version for release in releases if release is not None]
        return Response(next((version for version in versions if version), ""), media_type="text/plain")

    async def info(self, request: Request) -> Response:
        """The model's OpenAPI document."""
        found = self._named(request)
        if len(found) != 1:
            raise HTTPException(404, "the path must name the model; ask /models/NAME/api/model/info")
        if found[0].release is None:
            raise HTTPException(503, f"{found[0].name} has no version to describe yet; try again in a moment")
        return json_response(document.of_model(found[0], found[0].release))

    async def openapi(self, request: Request) -> Response:
        """The server's OpenAPI document, or one model's."""
        found = self._named(request)
        return json_response(document.document(found, self._default))

    async def docs(self, request: Request) -> Response:
        """The Swagger page; its assets come from this server."""
        found = self._named(request)
        title = found[0].name if len(found) == 1 else "Legion"
        # Relative, so that the page works behind a proxy that adds a prefix.
        root = "../../" if "name" in request.path_params else ""
        page = _PAGE.format(title=escape(title), assets=f"{root}docs/assets", document="openapi.json")
        return Response(page, media_type="text/html; charset=utf-8")

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format."""
        return Response(self._metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def not_predicted(self, request: Request) -> Response:
        """There is no such model, or no model that is alone."""
        names = ", ".join(deployment.name for deployment in self._deployments())
        remedy = f"use /models/NAME/… with one of {names}" if names else "nothing is deployed yet"
        raise HTTPException(404, f"no model answers at {path_of(request)}; {remedy}")
