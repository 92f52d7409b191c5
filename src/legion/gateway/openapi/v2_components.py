"""The Open Inference Protocol's messages that are the same for every model, as components of the OpenAPI document."""

from __future__ import annotations

from legion.gateway.openapi.infer_schema import DATATYPES, OUTPUT, TENSOR
from legion.gateway.openapi.json_schema import Schema

ERROR = "InferenceError"


def _object(*optional: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_ANY = {"type": "object"}
_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": -1}}
_DATATYPE = {"type": "string", "enum": list(DATATYPES)}
_TENSORS = {"type": "array", "items": _object(name=_TEXT, datatype=_DATATYPE, shape=_SHAPE)}
_TENSOR = _object(
    "data",
    "parameters",
    name=_TEXT,
    datatype=_DATATYPE,
    shape={"type": "array", "items": {"type": "integer", "minimum": 0}},
    data={"type": "array"},
    parameters=_ANY,
)
COMPONENTS: dict[str, Schema] = {
    ERROR: _object(error=_TEXT),
    "ServerMetadata": _object(name=_TEXT, version=_TEXT, extensions={"type": "array", "items": _TEXT}),
    "ServerLive": _object(live=_FLAG),
    "ServerReady": _object(ready=_FLAG),
    "ModelReady": _object(name=_TEXT, ready=_FLAG),
    "ModelMetadata": _object(
        name=_TEXT, versions={"type": "array", "items": _TEXT}, platform=_TEXT, inputs=_TENSORS, outputs=_TENSORS
    ),
    "RepositoryFilter": _object("ready", ready={"type": ["boolean", "null"]}),
    "RepositoryModel": _object(
        name=_TEXT, version=_TEXT, state={"type": "string", "enum": ["READY", "UNAVAILABLE"]}, reason=_TEXT
    ),
    TENSOR: {**_TENSOR, "required": ["name", "datatype", "shape", "data"]},
    OUTPUT: _object("parameters", name=_TEXT, parameters=_object("binary_data", binary_data=_FLAG)),
    "InferenceResponse": _object(
        "id", model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs={"type": "array", "items": _TENSOR}
    ),
}
