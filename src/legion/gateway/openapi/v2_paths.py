"""The Open Inference Protocol's paths in the OpenAPI document, each model's under its own name.

Protocol: https://github.com/kserve/open-inference-protocol; binary data as Triton's extension describes it.
"""

from __future__ import annotations

from typing import Any

from legion.gateway.openapi import infer_example, infer_schema
from legion.gateway.openapi.described_model import DescribedModel
from legion.gateway.openapi.json_schema import PLACE, Schema
from legion.gateway.openapi.responses import JSON, REFUSALS, answer, refusals
from legion.gateway.openapi.v2_components import ERROR

_BINARY = "application/octet-stream"
_BEHIND = {"description": "Behind the JSON comes the data of the tensors that have `binary_data_size`, not `data`."}
_HEADER = "Inference-Header-Content-Length"
_LENGTH = {
    "description": "The length of the JSON that binary data comes behind.",
    "schema": {"type": "integer", "minimum": 0},
}
_GONE = refusals(ERROR, {"404": REFUSALS["404"]})
_NO_VERSION = refusals(ERROR, {"503": "There is no version to answer with yet."})


def server() -> dict[str, Any]:
    """What is asked of the whole server."""
    tag = "server"
    index = {
        "tags": [tag],
        "summary": "The models with their version and state",
        "operationId": "v2-index",
        "requestBody": {"content": {JSON: {"schema": _ref("RepositoryFilter"), "example": {"ready": True}}}},
        "responses": {
            "200": answer("One entry a model.", {"type": "array", "items": _ref("RepositoryModel")}),
            **refusals(ERROR, {code: REFUSALS[code] for code in ("400", "413")}),
        },
    }
    described = {"200": answer("What the server is.", _ref("ServerMetadata"))}
    live = {"200": answer("It does.", _ref("ServerLive"))}
    ready = {"200": answer("They are.", _ref("ServerReady")), "503": answer("One is not.", _ref("ServerReady"))}
    return {
        "/v2": _get(tag, "v2-server", "The server's name, version and extensions", described),
        "/v2/health/live": _get(tag, "v2-live", "Whether the server answers", live),
        "/v2/health/ready": _get(tag, "v2-ready", "Whether the models are ready", ready),
        "/v2/repository/index": {"post": index},
    }


def model(described: DescribedModel) -> dict[str, Any]:
    """What is asked of one model."""
    name, report, example = described.name, described.report, described.bodies.example
    request = f"{name}-InferenceRequest"
    described.components[request] = infer_schema.request(report)
    content: dict[str, Any] = {"schema": _ref(request)}
    tensors = None if example is None else infer_example.converted(report, example)
    if tensors is not None:
        content["example"] = tensors
    paths = _model_paths(name, f"/v2/models/{name}", f"{name}-v2", content, [])
    if described.versions:
        schema = {"type": "string", "enum": list(described.versions)}
        parameter = {"name": "version", "in": "path", "required": True, "schema": schema}
        path = f"/v2/models/{name}/versions/{{version}}"
        paths |= _model_paths(name, path, f"{name}-v2-version", content, [parameter])
    return paths


def _model_paths(
    name: str, path: str, operation: str, content: dict[str, Any], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    described = {"200": answer("What the model is.", _ref("ModelMetadata")), **_GONE, **_NO_VERSION}
    not_ready = answer("It does not.", {"anyOf": [_ref("ModelReady"), _ref(ERROR)]})
    ready = {"200": answer("It does.", _ref("ModelReady")), **_GONE, "503": not_ready}
    infer = {
        "tags": [name],
        "summary": "Predict (Open Inference Protocol)",
        "operationId": f"{operation}-infer",
        "parameters": [{"name": _HEADER, "in": "header", **_LENGTH}],
        "requestBody": {"required": True, "content": {JSON: content, _BINARY: {"schema": _BEHIND}}},
        "responses": {
            "200": {
                "description": "The outputs, one tensor each.",
                "headers": {_HEADER: _LENGTH},
                "content": {JSON: {"schema": _ref("InferenceResponse")}, _BINARY: {}},
            },
            **refusals(ERROR),
        },
    }
    found: dict[str, dict[str, Any]] = {
        path: _get(name, operation, "The model's versions and tensors", described),
        f"{path}/ready": _get(name, f"{operation}-ready", "Whether the model answers", ready),
        f"{path}/infer": {"post": infer},
    }
    return {path: {"parameters": parameters, **item} for path, item in found.items()} if parameters else found


def _get(tag: str, operation: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"tags": [tag], "summary": summary, "operationId": operation, "responses": responses}}


def _ref(name: str) -> Schema:
    return {"$ref": PLACE + name}
