"""MLflow's scoring protocol: `POST /invocations`."""

from __future__ import annotations

from typing import Any

from legion import wire
from legion.gateway.openapi.described_model import DescribedModel
from legion.gateway.openapi.model_schemas import Bodies
from legion.gateway.openapi.responses import answer, refusals
from legion.gateway.protocols.protocol import Protocol

# The name of the error object among the document's components.
ERROR = "Error"
# MLflow's error codes, as its REST API has them.
_CODES = {
    400: "BAD_REQUEST",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST",
    408: "REQUEST_TIMEOUT",
    413: "REQUEST_LIMIT_EXCEEDED",
    415: "BAD_REQUEST",
    429: "RESOURCE_EXHAUSTED",
    431: "REQUEST_LIMIT_EXCEEDED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error(status: int, message: str) -> dict[str, Any]:
    """The error object."""
    return {"error_code": _CODES.get(status, "INTERNAL_ERROR"), "message": message, "stack_trace": ""}


def _paths(model: DescribedModel) -> dict[str, Any]:
    bodies = model.bodies
    found = answer("The answer." if bodies.conversation else "The predictions, one a row.", bodies.answer())
    if bodies.streams:
        words = "`data:` and the JSON of each piece; `data: [DONE]` at the end."
        found["content"]["text/event-stream"] = {"schema": {"type": "string", "description": words}}
    operation = {
        "tags": [model.name],
        "summary": "Predict (MLflow's scoring protocol)",
        "operationId": f"{model.name}-invocations",
        "requestBody": {"required": True, "content": _content(bodies)},
        "responses": {"200": found, **refusals(ERROR)},
    }
    return {f"{model.prefix}/invocations": {"post": operation}}


def _content(bodies: Bodies) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": bodies.invocations()}
    if bodies.example is not None:
        content["example"] = bodies.example
    out = {"application/json": content}
    if bodies.rows and bodies.names is not None:
        out["text/csv"] = {"schema": {"type": "string"}, "example": _csv_example(bodies.names, bodies.example)}
    return out


def _csv_example(names: list[str], sample: dict[str, Any] | None) -> str:
    header = ",".join(f'"{name}"' if "," in name else name for name in names)
    split = (sample or {}).get("dataframe_split") or {}
    rows = split.get("data") if split.get("columns") == names else None
    if not rows:
        return header
    return "\n".join([header, *(",".join("" if v is None else str(v) for v in row) for row in rows)])


MLFLOW = Protocol(
    codec=wire.MLFLOW,
    path="/models/{name}/invocations",
    path_alone="/invocations",
    error=error,
    schemas={
        ERROR: {
            "type": "object",
            "properties": {
                "error_code": {"type": "string"},
                "message": {"type": "string"},
                "stack_trace": {"type": "string"},
            },
            "required": ["error_code", "message"],
        }
    },
    paths=_paths,
)
