"""JSON Schemas that models bring, as components of an OpenAPI document, and made-up values of them."""

from __future__ import annotations

import math
import re
from typing import Any

Schema = dict[str, Any]

PLACE = "#/components/schemas/"
# Below these keys stand names of the author's, each with a schema; below those, values and not schemas.
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_VALUES = ("default", "example", "examples", "const", "enum", "required")
_DEEPEST = 8
_FORMATS = {
    "date": "2025-01-31",
    "date-time": "2025-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "email": "name@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "binary": "text",
}


def added(components: dict[str, Any], name: str, schema: Schema) -> Schema:
    """A reference to the schema, which is put among the components, and what it defines (`$defs`) with it.

    References to what it does not define say nothing, so that the document stays valid.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    places = {"#": name}
    inner: dict[str, Any] = {}
    for key in ("$defs", "definitions"):
        definitions = schema.get(key)
        for each, definition in definitions.items() if isinstance(definitions, dict) else ():
            place = f"{name}-{re.sub(r'[^A-Za-z0-9._-]', '_', each)}"
            places[f"#/{key}/{_pointer(each)}"] = place
            inner[place] = definition
    top = {key: value for key, value in schema.items() if key not in ("$defs", "definitions", "$schema", "$id")}
    for place, definition in {name: top, **inner}.items():
        components[place] = _moved(definition, places)
    return {"$ref": PLACE + name}


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _moved(schema: Any, places: dict[str, str]) -> Any:
    """The schema with its references pointing to the components."""
    if isinstance(schema, list):
        return [_moved(item, places) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved: Schema = {}
    for key, value in schema.items():
        if key == "$ref":
            if value in places:
                moved[key] = PLACE + places[value]
        elif key in _VALUES:
            moved[key] = value
        elif key in _NAMED and isinstance(value, dict):
            moved[key] = {name: _moved(item, places) for name, item in value.items()}
        elif key == "mapping" and isinstance(value, dict):
            moved[key] = {name: PLACE + places[item] for name, item in value.items() if item in places}
        else:
            moved[key] = _moved(value, places)
    return moved


def sample(schema: Any, components: dict[str, Any], depth: int = 0) -> Any:
    """A value that fits the schema: its own example or default where it has one, else made up.

    Patterns and conditions are not looked at.
    """
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if str(schema.get("$ref", "")).startswith(PLACE):
        return sample(components.get(schema["$ref"][len(PLACE) :]), components, depth + 1)
    for key in ("examples", "enum"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    for key in ("example", "const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    for key in ("anyOf", "oneOf"):
        choices = [one for one in schema.get(key) or () if isinstance(one, dict) and one.get("type") != "null"]
        if choices:
            return sample(choices[0], components, depth + 1)
    if schema.get("allOf"):
        parts = [sample(part, components, depth + 1) for part in schema["allOf"]]
        objects = [part for part in parts if isinstance(part, dict)]
        return {key: value for part in objects for key, value in part.items()} if objects else parts[0]
    return _made_up(schema, components, depth)


def _made_up(schema: Schema, components: dict[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), None)
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: sample(properties.get(name, {}), components, depth + 1) for name in schema.get("required", ())}
    if kind == "array":
        first = [sample(item, components, depth + 1) for item in schema.get("prefixItems", ())]
        items = schema.get("items")
        missing = max(int(schema.get("minItems", 1)) - len(first), 0)
        return first + [sample(items, components, depth + 1) for _ in range(missing) if isinstance(items, dict)]
    if kind == "string":
        text = _FORMATS.get(str(schema.get("format")), "text").ljust(int(schema.get("minLength", 0)), "x")
        return text[: int(schema.get("maxLength", len(text)))]
    if kind in ("number", "integer"):
        return _number(schema, whole=kind == "integer")
    return {"boolean": True, "null": None}.get(str(kind), 1)


def _number(schema: Schema, *, whole: bool) -> float:
    def bound(key: str) -> float | None:
        value = schema.get(key)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    step = 1 if whole else 0.5
    lows = [(bound("minimum"), 0.0), (bound("exclusiveMinimum"), step)]
    highs = [(bound("maximum"), 0.0), (bound("exclusiveMaximum"), step)]
    low = max((limit + margin for limit, margin in lows if limit is not None), default=-math.inf)
    high = min((limit - margin for limit, margin in highs if limit is not None), default=math.inf)
    value = min(max(step, low), high)
    if low > high:
        # The bounds are closer than a step.
        least = max(limit for limit, _ in lows if limit is not None)
        value = (least + min(limit for limit, _ in highs if limit is not None)) / 2
    multiple = schema.get("multipleOf")
    if isinstance(multiple, (int, float)) and multiple > 0:
        value = math.ceil(value / multiple) * multiple
    return int(value) if whole else value
