"""Legion's REST: `POST /api/model/invoke`, a matrix and its columns, or a list of objects."""

from __future__ import annotations

from typing import Any

from legion import wire
from legion.gateway.openapi.described_model import DescribedModel
from legion.gateway.openapi.responses import REFUSALS, answer, refusals
from legion.gateway.protocols.protocol import Protocol

_ERROR = "Message"
_UNFIT = {"422": "The request does not fit the model's signature; row and column say where."}
_MATRIX = {
    "type": "object",
    "properties": {
        "prediction": {"type": "array", "items": {"type": "array"}},
        "columns": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["prediction", "columns"],
}


def _error(status: int, message: str) -> dict[str, Any]:
    return {"message": message}


def _paths(model: DescribedModel) -> dict[str, Any]:
    bodies = model.bodies
    if not (bodies.objects or (bodies.rows and model.report.mode == "matrix")):
        return {}
    body, example = bodies.legion()
    content = {"schema": body} if example is None else {"schema": body, "example": example}
    found = bodies.predictions() if bodies.objects else _MATRIX
    operation = {
        "tags": [model.name],
        "summary": "Predict (Legion's REST)",
        "operationId": f"{model.name}-invoke",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": answer("One answer an object." if bodies.objects else "A matrix and its column names.", found),
            **refusals(_ERROR, REFUSALS | _UNFIT),
        },
    }
    return {f"{model.prefix}/api/model/invoke": {"post": operation}}


LEGION_REST = Protocol(
    codec=wire.LEGION,
    path="/models/{name}/api/model/invoke",
    path_alone="/api/model/invoke",
    error=_error,
    schemas={
        _ERROR: {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "row": {"type": ["integer", "null"]},
                "column": {"type": ["string", "null"]},
            },
            "required": ["message"],
        }
    },
    paths=_paths,
)
