"""What a module's `get_info()` or `info()` says, in every shape that was ever written."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple

from legion.errors import WorkerError
from legion.interface import result
from legion.interface.gppi import object_type
from legion.interface.gppi.object_type import ObjectType
from legion.signature import SCALARS, Field
from legion.wire import INPUT_SCHEMA, OUTPUT_SCHEMA

# How descriptions in the wild name their types → the signature's names. OpenAPI's integer is of any size.
_TYPES = {
    "number": "double",
    "float": "double",
    "float16": "float",
    "float32": "float",
    "float64": "double",
    "integer": "long",
    "int": "long",
    "int8": "integer",
    "int16": "integer",
    "int32": "integer",
    "int64": "long",
    "uint8": "integer",
    "uint16": "integer",
    "uint32": "long",
    "bool": "boolean",
    "str": "string",
    "object": "string",
    "bytes": "binary",
    "date": "datetime",
    "date-time": "datetime",
}


class Side(NamedTuple):
    """One side of a model: columns, or the type of an object, or its JSON Schema, or none of them."""

    fields: Tuple[Field, ...] = ()
    type: Optional[ObjectType] = None
    schema: Optional[Dict[str, Any]] = None


class Description(NamedTuple):
    """An OpenAPI document, where that was given, and both sides."""

    document: Optional[Dict[str, Any]] = None
    input: Side = Side()
    output: Side = Side()


def read(info: Any) -> Description:
    """What this says: an OpenAPI document, a JSON Schema or a pydantic model of the input, or a pair (input, output).

    The sides of a pair are lists of `{name, type, example, required}`, JSON Schemas or pydantic models. Anything
    else says nothing. Raises WorkerError for a document that is no JSON.
    """
    if isinstance(info, dict) and ("openapi" in info or "swagger" in info):
        return Description(_plain(info))
    if isinstance(info, dict) or object_type.is_model(info):
        return Description(None, _side(info))
    if isinstance(info, (tuple, list)) and len(info) == 2:
        return Description(None, _side(info[0]), _side(info[1]))
    return Description()


def asked(module: Any, *names: str) -> Any:
    """What the first of these functions that the module defines returns; None where it defines none."""
    for name in names:
        function = getattr(module, name, None)
        if callable(function):
            return function()
    return None


def extended(
    document: Optional[Dict[str, Any]], inputs: Optional[Dict[str, Any]], outputs: Optional[Dict[str, Any]]
) -> Optional[Dict[str, Any]]:
    """What a model reports of itself: its document, with the schemas of its objects beside it."""
    sides = ((INPUT_SCHEMA, inputs), (OUTPUT_SCHEMA, outputs))
    schemas = {key: _plain(schema) for key, schema in sides if schema is not None}
    return {**(document or {}), **schemas} or None


def _side(side: Any) -> Side:
    if object_type.is_model(side):
        return Side(type=object_type.of(side))
    if isinstance(side, dict):
        return Side(schema=side) if "properties" in side or "$ref" in side or side.get("type") == "object" else Side()
    return Side(_fields(side)) if isinstance(side, (list, tuple)) else Side()


def _fields(side: Any) -> Tuple[Field, ...]:
    """The columns, or none at all where one of them is not described."""
    fields = []
    for item in side:
        read = item.get if isinstance(item, dict) else lambda key, default=None, item=item: getattr(item, key, default)
        name, kind = read("name"), str(read("type", "double")).lower()
        kind = _TYPES.get(kind, kind)
        if name is None or kind not in SCALARS:
            return ()
        fields.append(Field(str(name), kind, bool(read("required", True)), example=_plain(read("example"))))
    return tuple(fields)


def _plain(value: Any) -> Any:
    try:
        return result.plain(value)
    except TypeError:
        raise WorkerError("get_info() or info() of the entrypoint gives what JSON cannot hold; correct it") from None
