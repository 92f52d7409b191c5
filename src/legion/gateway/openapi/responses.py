"""What an operation of the OpenAPI document may answer: success, and each refusal in its protocol's own shape."""

from __future__ import annotations

from typing import Any

from legion.gateway.openapi.json_schema import PLACE, Schema

JSON = "application/json"
REFUSALS = {
    "400": "The request cannot be read, or the model refuses it.",
    "404": "No such model or version is served here.",
    "408": "The body did not arrive in time.",
    "413": "The body is over the limit.",
    "415": "The content type or encoding is not read here.",
    "429": "Too many requests wait already; `Retry-After` says when to try again.",
    "503": "No worker could answer; `Retry-After` says when to try again.",
    "504": "The model did not answer in time.",
}
_RETRY_AFTER = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer", "minimum": 0}}}


def answer(text: str, schema: Schema) -> dict[str, Any]:
    """A response in JSON."""
    return {"description": text, "content": {JSON: {"schema": schema}}}


def refusals(shape: str, texts: dict[str, str] = REFUSALS) -> dict[str, Any]:
    """A response for each of these statuses; `shape` is the error object's name among the components."""
    found = {code: answer(text, {"$ref": PLACE + shape}) for code, text in sorted(texts.items())}
    for code in found.keys() & {"429", "503"}:
        found[code]["headers"] = _RETRY_AFTER
    return found
