"""The Open Inference Protocol's paths that are no prediction: health, metadata, the repository's index.

Protocol: https://github.com/kserve/open-inference-protocol; the index as Triton's model repository extension has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from legion import __version__
from legion.gateway.deployment import Deployment
from legion.gateway.release import Release
from legion.signature import PREDICT, Field, Signature

# The output of a model whose signature names none.
_UNNAMED = {"name": PREDICT, "datatype": "FP64", "shape": [-1]}
_EXTENSIONS = ["binary_tensor_data", "model_repository"]


class OpenInferenceControl:
    """Over the deployments that the function gives."""

    def __init__(self, deployments: Callable[[], list[Deployment]]) -> None:
        self._deployments = deployments

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
        return Starlette(routes=routes, exception_handlers={HTTPException: _fault})

    async def server(self, request: Request) -> Response:
        """The server's name, version and extensions."""
        return _json({"name": "legion", "version": __version__, "extensions": _EXTENSIONS})

    async def live(self, request: Request) -> Response:
        """Whether the server answers at all."""
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether every model that is served answers."""
        ready = all(one.ready for one in self._deployments() if one.releases or one.awaited)
        return _json({"ready": ready}, 200 if ready else 503)

    async def index(self, request: Request) -> Response:
        """Every model with its version and state; with `{"ready": true}` only those that answer."""
        body = await request.body()
        try:
            wished = msgspec.json.decode(body) if body.strip() else {}
        except msgspec.DecodeError as error:
            raise HTTPException(400, f"the body is no JSON ({error})") from None
        only_ready = isinstance(wished, dict) and wished.get("ready") is True
        found = []
        for one in self._deployments():
            if only_ready and not one.ready:
                continue
            version = "" if one.release is None else one.release.delivery.plan.version
            reason = next((variant.refused.reason for variant in one.variants if variant.refused), "")
            state = "READY" if one.ready else "UNAVAILABLE"
            found.append({"name": one.name, "version": version, "state": state, "reason": reason})
        return _json(found)

    async def model(self, request: Request) -> Response:
        """A model's versions, inputs and outputs."""
        deployment, release = self._found(request)
        signature = release.pool.report.signature
        return _json(
            {
                "name": deployment.name,
                "versions": sorted({version for one in deployment.releases for version in one.versions}),
                "platform": release.pool.report.path if release.delivery.plan.interface != "pyfunc" else "mlflow",
                "inputs": _tensors(signature.inputs, signature, "input"),
                "outputs": _tensors(signature.outputs, signature, PREDICT) or [_UNNAMED],
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Whether the model answers."""
        deployment, _ = self._found(request)
        return _json({"name": deployment.name, "ready": deployment.ready}, 200 if deployment.ready else 503)

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


def _tensors(fields: tuple[Field, ...], signature: Signature, unnamed: str) -> list[dict[str, Any]]:
    """One tensor a column, of as many values as there are rows; or the model's own tensors."""
    if len(fields) > 1 and all(field.name is None and field.type != "tensor" for field in fields):
        kinds = {field.datatype for field in fields}
        return [{"name": unnamed, "datatype": kinds.pop() if len(kinds) == 1 else "FP64", "shape": [-1, len(fields)]}]
    return [
        {
            "name": unnamed if field.name is None else str(field.name),
            "datatype": field.datatype,
            "shape": [-1] if field.shape is None else list(field.shape),
        }
        for field in fields
    ]


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = "there is nothing at this path" if error.detail == "Not Found" else error.detail
    response = _json({"error": detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response
