"""The OpenAPI 3.1 document of a served model, typed from its signature, with the example filled in."""

from __future__ import annotations

from typing import Any

from legion import __version__
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.release import Release
from legion.gateway.openapi import v2_paths
from legion.gateway.openapi.model_schemas import Bodies
from legion.gateway.openapi.responses import REFUSALS, answer, refusals
from legion.gateway.openapi.v2_components import COMPONENTS
from legion.wire import INPUT_SCHEMA, OUTPUT_SCHEMA

_MATRIX = {
    "type": "object",
    "properties": {
        "prediction": {"type": "array", "items": {"type": "array"}},
        "columns": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["prediction", "columns"],
}
_UNFIT = {"422": "The request does not fit the model's signature; row and column say where."}


def document(deployments: list[Deployment], default: Deployment | None) -> dict[str, Any]:
    """The whole server's document: one model at the root, or several under /models/{name}."""
    paths: dict[str, Any] = {}
    components: dict[str, Any] = _COMPONENTS | COMPONENTS
    described = [(one, one.release) for one in deployments if one.release is not None]
    for deployment, release in described:
        prefix = "" if deployment is default else f"/models/{deployment.name}"
        bodies = Bodies(deployment.name, release.pool.report, release.delivery.example, components)
        paths |= _model_paths(deployment.name, release, prefix, bodies)
        paths |= v2_paths.model(deployment, release, bodies.example, components)
    paths |= _server_paths() | v2_paths.server()
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


def _model_paths(name: str, release: Release, prefix: str, bodies: Bodies) -> dict[str, Any]:
    paths = {f"{prefix}/invocations": {"post": _invocations(name, bodies)}}
    if bodies.objects or (bodies.rows and release.pool.report.mode == "matrix"):
        paths[f"{prefix}/api/model/invoke"] = {"post": _legion_operation(name, bodies)}
    unknown = {code: REFUSALS[code] for code in ("404", "503")}
    paths[f"{prefix}/api/model/info"] = {
        "get": {
            "tags": [name],
            "summary": "This model's OpenAPI document",
            "operationId": f"{name}-info",
            "responses": {"200": answer("An OpenAPI document.", {"type": "object"}), **refusals("Error", unknown)},
        }
    }
    return paths


def _invocations(name: str, bodies: Bodies) -> dict[str, Any]:
    found = answer("The answer." if bodies.conversation else "The predictions, one a row.", bodies.answer())
    if bodies.streams:
        words = "`data:` and the JSON of each piece; `data: [DONE]` at the end."
        found["content"]["text/event-stream"] = {"schema": {"type": "string", "description": words}}
    return {
        "tags": [name],
        "summary": "Predict (MLflow's scoring protocol)",
        "operationId": f"{name}-invocations",
        "requestBody": {"required": True, "content": _invocation_content(bodies)},
        "responses": {"200": found, **refusals("Error")},
    }


def _invocation_content(bodies: Bodies) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": bodies.invocations()}
    if bodies.example is not None:
        content["example"] = bodies.example
    out = {"application/json": content}
    if bodies.rows and bodies.names is not None:
        out["text/csv"] = {"schema": {"type": "string"}, "example": _csv_example(bodies.names, bodies.example)}
    return out


def _legion_operation(name: str, bodies: Bodies) -> dict[str, Any]:
    body, example = bodies.legion()
    content = {"schema": body} if example is None else {"schema": body, "example": example}
    found = bodies.predictions() if bodies.objects else _MATRIX
    return {
        "tags": [name],
        "summary": "Predict (Legion's REST)",
        "operationId": f"{name}-invoke",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": answer("One answer an object." if bodies.objects else "A matrix and its column names.", found),
            **refusals("Message", REFUSALS | _UNFIT),
        },
    }


def _csv_example(names: list[str], sample: dict[str, Any] | None) -> str:
    header = ",".join(f'"{name}"' if "," in name else name for name in names)
    split = (sample or {}).get("dataframe_split") or {}
    rows = split.get("data") if split.get("columns") == names else None
    if not rows:
        return header
    return "\n".join([header, *(",".join("" if v is None else str(v) for v in row) for row in rows)])


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


_COMPONENTS = {
    "Error": {
        "type": "object",
        "properties": {
            "error_code": {"type": "string"},
            "message": {"type": "string"},
            "stack_trace": {"type": "string"},
        },
        "required": ["error_code", "message"],
    },
    "Message": {
        "type": "object",
        "properties": {
            "message": {"type": "string"},
            "row": {"type": ["integer", "null"]},
            "column": {"type": ["string", "null"]},
        },
        "required": ["message"],
    },
}
