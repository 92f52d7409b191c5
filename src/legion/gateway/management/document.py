"""The OpenAPI 3.1 document of what is served, typed from the models' signatures, with their examples filled in."""

from __future__ import annotations

from typing import Any

from legion import __version__
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.release import Release
from legion.gateway.openapi.described_model import DescribedModel
from legion.gateway.openapi.model_schemas import Bodies
from legion.gateway.openapi.responses import REFUSALS, answer, refusals
from legion.gateway.protocols import mlflow
from legion.gateway.protocols.table import PROTOCOLS
from legion.wire import INPUT_SCHEMA, OUTPUT_SCHEMA


def document(deployments: list[Deployment], default: Deployment | None) -> dict[str, Any]:
    """The whole server's document: one model at the root, or several under /models/{name}."""
    paths: dict[str, Any] = {}
    components: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        components |= protocol.schemas
    described = [(one, one.release) for one in deployments if one.release is not None]
    for deployment, release in described:
        model = _described(deployment, release, components, alone=deployment is default)
        for protocol in PROTOCOLS:
            paths |= protocol.paths(model)
        paths |= _info_path(model)
    paths |= _server_paths()
    for protocol in PROTOCOLS:
        paths |= protocol.server_paths
    names = ", ".join(f"{one.name} {release.delivery.plan.version}" for one, release in described) or "no model yet"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": described[0][0].name if len(described) == 1 else "Legion",
            "version": described[0][1].delivery.plan.version if len(described) == 1 else __version__,
            "description": f"Predictions of {names}, served by Legion {__version__}.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def of_model(deployment: Deployment, release: Release) -> dict[str, Any]:
    """One model's document, its paths at the root: what `GET /api/model/info` gives."""
    own = release.pool.report.openapi or {}
    if "openapi" in own or "swagger" in own:
        return {key: value for key, value in own.items() if key not in (INPUT_SCHEMA, OUTPUT_SCHEMA)}
    return document([deployment], deployment)


def _described(deployment: Deployment, release: Release, components: dict[str, Any], *, alone: bool) -> DescribedModel:
    name, report = deployment.name, release.pool.report
    return DescribedModel(
        name=name,
        prefix="" if alone else f"/models/{name}",
        # A version can be named while it is the only one that answers.
        versions=tuple(sorted({version for version in release.versions if deployment.has(version)})),
        report=report,
        bodies=Bodies(name, report, release.delivery.example, components),
        components=components,
    )


def _info_path(model: DescribedModel) -> dict[str, Any]:
    unknown = {code: REFUSALS[code] for code in ("404", "503")}
    operation = {
        "tags": [model.name],
        "summary": "This model's OpenAPI document",
        "operationId": f"{model.name}-info",
        "responses": {"200": answer("An OpenAPI document.", {"type": "object"}), **refusals(mlflow.ERROR, unknown)},
    }
    return {f"{model.prefix}/api/model/info": {"get": operation}}


def _server_paths() -> dict[str, Any]:
    def get(summary: str, media: str, *, may_fail: bool = False) -> dict[str, Any]:
        responses: dict[str, Any] = {"200": {"description": "Yes.", "content": {media: {}}}}
        if may_fail:
            responses["503"] = {"description": "No worker is ready.", "content": {media: {}}}
        return {"get": {"tags": ["server"], "summary": summary, "responses": responses}}

    return {
        "/ping": get("Whether the models are ready", "application/json", may_fail=True),
        "/health": get("Whether the models are ready", "application/json", may_fail=True),
        "/healthcheck": get("Whether the models are ready (Legion's REST)", "application/json", may_fail=True),
        "/version": get("The MLflow version of the model", "text/plain"),
        "/metrics": get("Counts for Prometheus", "text/plain"),
    }
