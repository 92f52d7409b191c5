"""What a Java model's getInfo() says: an OpenAPI document, or the columns that go in and come out."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from legion.errors import InputError, WorkerError
from legion.signature import Field, Signature

# A double[] holds these.
NUMBERS = ("double", "float", "long", "integer", "boolean")
_KINDS: Dict[str, Tuple[type, ...]] = {
    "double": (float, int),
    "float": (float, int),
    "long": (int,),
    "integer": (int,),
    "boolean": (bool,),
    "string": (str,),
}
_SCHEMAS: Dict[str, Dict[str, Any]] = {
    "double": {"type": "number"},
    "float": {"type": "number"},
    "long": {"type": "integer", "format": "int64"},
    "integer": {"type": "integer", "format": "int32"},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
}
_BITS = {"long": 63, "integer": 31}
_KEYS = {"name", "type", "required", "example"}


class Described(NamedTuple):
    """`signature` is empty where no columns are told, `document` None where there is no OpenAPI document."""

    signature: Signature = Signature()
    document: Optional[Dict[str, Any]] = None


def read(text: Optional[str], mode: str) -> Described:
    """What getInfo() returned for a model of this mode. Raises WorkerError naming what to correct."""
    if text is None:
        return Described()
    try:
        info = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkerError(f"getInfo() of the Java model is no JSON ({error}); return a JSON text or null") from None
    if isinstance(info, dict) and "openapi" in info:
        return Described(document=info)
    if not isinstance(info, dict) or set(info) - {"inputs", "outputs"}:
        raise WorkerError('getInfo() of the Java model must be {"inputs": […], "outputs": […]} or an OpenAPI document')
    kinds = NUMBERS if mode == "matrix" else tuple(_KINDS)
    return Described(Signature(_fields(info, "inputs", kinds), _fields(info, "outputs", kinds)))


def _fields(info: Dict[str, Any], side: str, kinds: Tuple[str, ...]) -> Tuple[Field, ...]:
    items = info.get(side, [])
    if not isinstance(items, list):
        raise WorkerError(f"{side} of getInfo() must be a list of columns")
    fields: List[Field] = []
    for number, item in enumerate(items):
        where = f"{side}[{number}] of getInfo()"
        if not isinstance(item, dict) or set(item) - _KEYS or not isinstance(item.get("name"), str):
            raise WorkerError(f"{where} must be an object with a name, a type, and perhaps required and example")
        if item.get("type") not in kinds:
            raise WorkerError(f"{where} has the type {item.get('type')!r}; use one of {', '.join(kinds)}")
        if not isinstance(item.get("required", True), bool):
            raise WorkerError(f"{where} must say required as true or false")
        fields.append(Field(item["name"], item["type"], item.get("required", True), example=item.get("example")))
    names = [field.name for field in fields]
    if len(set(names)) != len(names):
        raise WorkerError(f"{side} of getInfo() names a column twice; give each a name of its own")
    return tuple(fields)


def schema(fields: Tuple[Field, ...]) -> Optional[Dict[str, Any]]:
    """The JSON Schema of one object with these fields; None without any."""
    if not fields:
        return None
    properties = {}
    for field in fields:
        one = dict(_SCHEMAS[field.type])
        if not field.required:
            one["type"] = [one["type"], "null"]
        if field.example is not None:
            one["examples"] = [field.example]
        properties[str(field.name)] = one
    required = [str(field.name) for field in fields if field.required]
    return {"type": "object", "properties": properties, "required": required}


def check(objects: List[Any], fields: Tuple[Field, ...]) -> None:
    """Raise InputError for the first object that does not have these fields, or has others."""
    known = {str(field.name) for field in fields}
    for row, item in enumerate(objects):
        unknown = next((name for name in item if name not in known), None)
        if unknown is not None:
            raise InputError(f"row {row}, field {unknown[:60]!r}: the model has no such field", row=row, column=unknown)
        for field in fields:
            fault = _fault(item.get(field.name), field, field.name in item)
            if fault is not None:
                raise InputError(f"row {row}, field {field.name!r}: {fault}", row=row, column=field.name)


def _fault(value: Any, field: Field, given: bool) -> Optional[str]:
    if value is None:
        return None if not field.required else "a value is required" if given else "is missing"
    if type(value) not in _KINDS[field.type]:
        return f"a {field.type} is expected, got {type(value).__name__}"
    bits = _BITS.get(field.type)
    if bits is not None and not -(2**bits) <= value < 2**bits:
        return f"{value} does not fit a {field.type}"
    return None
