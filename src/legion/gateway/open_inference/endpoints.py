"""The Open Inference Protocol's paths that are no prediction: health, metadata, the repository's index.

Protocol: https://github.com/kserve/open-inference-protocol; the index as Triton's model repository extension has it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from legion import __version__
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.release import Release
from legion.gateway.http.connections import Connections
from legion.gateway.http.control_app import control_app, json_response, small_body
from legion.gateway.openapi.model_tensors import metadata
from legion.gateway.protocols.open_inference import OPEN_INFERENCE

_EXTENSIONS = ["binary_tensor_data", "model_repository"]
# Bytes of a filter; it has one field.
_LARGEST = 64 * 1024


class _Filter(msgspec.Struct, frozen=True):
    ready: bool | None = None


class OpenInferenceEndpoints:
    """Over the deployments that the function gives; while the connections are draining, the server is not ready."""

    def __init__(self, deployments: Callable[[], list[Deployment]], connections: Connections) -> None:
        self._deployments = deployments
        self._connections = connections

    def app(self) -> Starlette:
        """The ASGI application, to be mounted at /v2."""
        model, version = "/models/{name}", "/models/{name}/versions/{version}"
        routes = [
            Route("/", self.server),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/repository/index", self.index, methods=["POST"]),
            *(Route(path, self.model) for path in (model, version)),
            *(Route(f"{path}/ready", self.model_ready) for path in (model, version)),
            # What can be predicted was taken before it came here.
            *(Route(f"{path}/infer", self.not_inferred, methods=["POST"]) for path in (model, version)),
        ]
        return control_app(routes, OPEN_INFERENCE.error)

    async def server(self, request: Request) -> Response:
        """The server's name, version and extensions."""
        return json_response({"name": "legion", "version": __version__, "extensions": _EXTENSIONS})

    async def live(self, request: Request) -> Response:
        """Whether the server answers at all."""
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether every model that is served answers, and the server is not about to end."""
        ready = not self._connections.draining and all(
            one.ready for one in self._deployments() if one.releases or one.awaited
        )
        return json_response({"ready": ready}, 200 if ready else 503)

    async def index(self, request: Request) -> Response:
        """Every model with its version and state; with `{"ready": true}` only those that answer."""
        wished = await _filter(request)
        found = []
        for one in self._deployments():
            if wished.ready and not one.ready:
                continue
            version = "" if one.release is None else one.release.delivery.plan.version
            reason = next((variant.refused.reason for variant in one.variants if variant.refused), "")
            state = "READY" if one.ready else "UNAVAILABLE"
            found.append({"name": one.name, "version": version, "state": state, "reason": reason})
        return json_response(found)

    async def model(self, request: Request) -> Response:
        """A model's versions, inputs and outputs."""
        deployment, release = self._found(request)
        report = release.pool.report
        return json_response(
            {
                "name": deployment.name,
                "versions": sorted({version for one in deployment.releases for version in one.versions}),
                "platform": report.path if release.delivery.plan.interface != "pyfunc" else "mlflow",
                **metadata(report),
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Whether the model answers."""
        deployment, _ = self._found(request)
        return json_response({"name": deployment.name, "ready": deployment.ready}, 200 if deployment.ready else 503)

    async def not_inferred(self, request: Request) -> Response:
        """There is no such model, or version."""
        self._found(request)
        raise HTTPException(404, "this version cannot be asked by its name; leave the version out")

    def _found(self, request: Request) -> tuple[Deployment, Release]:
        name, version = request.path_params["name"], request.path_params.get("version")
        deployment = next((one for one in self._deployments() if one.name == name), None)
        if deployment is None:
            raise HTTPException(404, f"no model {name!r} is served here; see POST /v2/repository/index")
        if deployment.release is None:
            raise HTTPException(503, f"{name} has no version to answer with yet; try again in a moment")
        if version is not None and not deployment.has(version):
            raise HTTPException(404, f"{name} does not answer with version {version!r}; leave the version out")
        return deployment, deployment.release


async def _filter(request: Request) -> _Filter:
    """What a request for the index asks for. Raises HTTPException."""
    body = await small_body(request, _LARGEST)
    try:
        return msgspec.json.decode(body, type=_Filter) if body.strip() else _Filter()
    except (msgspec.DecodeError, RecursionError) as error:
        raise HTTPException(
            400, f'the body is no filter ({str(error)[:200]}); send {{"ready": true}}, or none'
        ) from None
