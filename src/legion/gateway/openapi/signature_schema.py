"""A signature as JSON Schema (2020-12, as OpenAPI 3.1 has it): what a request and an answer look like."""

from __future__ import annotations

from typing import Any

from legion.signature import SCALARS, Field, Signature

Schema = dict[str, Any]

_SCALARS: dict[str, Schema] = {
    "double": {"type": ["number", "null"], "format": "double"},
    "float": {"type": ["number", "null"], "format": "float"},
    "long": {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    "integer": {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    "boolean": {"type": "boolean"},
    "string": {"type": ["string", "null"]},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "datetime": {"type": ["string", "null"], "format": "date-time"},
}
_NUMPY_KINDS = {"f": "number", "i": "integer", "u": "integer", "b": "boolean"}
_EXAMPLES: dict[str, Any] = {
    "double": 0.5,
    "float": 0.5,
    "long": 1,
    "integer": 1,
    "boolean": True,
    "string": "text",
    "binary": "bGVnaW9u",
    "datetime": "2025-01-31T12:00:00",
    "any": 0.5,
}


def scalar(field: Field) -> Schema:
    """One value of a column."""
    schema = dict(_SCALARS[field.type])
    kind = schema["type"]
    if not field.required and isinstance(kind, str):
        schema["type"] = [kind, "null"]
    return schema


def tensor(field: Field) -> Schema:
    """Nested arrays; free dimensions are of any length."""
    kind = _NUMPY_KINDS.get(_kind_letter(field.dtype or ""))
    schema: Schema = {} if kind is None else {"type": kind}
    for size in reversed(field.shape or ()):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _kind_letter(dtype: str) -> str:
    if dtype.startswith(("float", "int", "uint", "bool")):
        return {"f": "f", "i": "i", "u": "u", "b": "b"}[dtype[0]]
    return ""


def anything(field: Field) -> Schema:
    """A column of MLflow's richer types, as far as JSON Schema says the same."""
    if field.type in SCALARS:
        return scalar(field)
    if field.type == "tensor":
        return tensor(field)
    return _rich(field.schema or {})


def _rich(spec: dict[str, Any]) -> Schema:
    kind = spec.get("type")
    if kind in SCALARS:
        return dict(_SCALARS[str(kind)])
    if kind == "array":
        return {"type": "array", "items": _rich(spec.get("items", {}))}
    if kind == "object":
        properties = spec.get("properties", {})
        return {
            "type": "object",
            "properties": {name: _rich(inner) for name, inner in properties.items()},
            "required": [name for name, inner in properties.items() if inner.get("required", True)],
        }
    if kind == "map":
        return {"type": "object", "additionalProperties": _rich(spec.get("values", {}))}
    return {}


def record(fields: tuple[Field, ...]) -> Schema:
    """One row as an object."""
    return {
        "type": "object",
        "properties": {str(f.name): anything(f) for f in fields},
        "required": [str(f.name) for f in fields if f.required],
        "additionalProperties": False,
    }


def split(signature: Signature) -> Schema:
    """Rows under a list of column names."""
    fields, width = signature.inputs, len(signature.inputs)
    # Columns may come in any order, so a row's places have no types of their own where these differ.
    # A type that the model declares itself converts more than the signature says.
    kinds = [{} if signature.from_type_hints else anything(field) for field in fields]
    cell = kinds[0] if all(kind == kinds[0] for kind in kinds) else {}
    row: Schema = {"type": "array", "items": cell, "maxItems": width}
    row["minItems"] = sum(field.required for field in fields)
    schema: Schema = {
        "type": "object",
        "properties": {"data": {"type": "array", "items": row}},
        "required": ["data"],
        "additionalProperties": False,
    }
    if signature.named:
        names: Schema = {"type": "string", "enum": [field.name for field in fields]}
        columns = {
            "type": ["array", "null"],
            "items": names,
            "minItems": row["minItems"],
            "maxItems": width,
            "uniqueItems": True,
        }
        schema["properties"] = {"columns": columns, **schema["properties"]}
    return schema


def answers(signature: Signature) -> Schema:
    """The list under `predictions`: what a row's answer looks like depends on what the model makes it of."""
    outputs = signature.outputs
    if not outputs:
        return {}
    named = all(field.name is not None for field in outputs)
    if all(field.type == "tensor" for field in outputs):
        arrays = {str(field.name): tensor(field) for field in outputs}
        by_name = [{"type": "object", "properties": arrays, "required": list(arrays)}] if named else []
        return _any([*by_name, *([tensor(outputs[0])] if len(outputs) == 1 else [])])
    kinds, width = [anything(field) for field in outputs], len(outputs)
    # An object from a table, else a list, or a bare value where there is but one.
    cell = kinds[0] if all(kind == kinds[0] for kind in kinds) else {}
    row: Schema = {"type": "array", "items": cell, "minItems": width, "maxItems": width}
    rows = [row] if width > 1 else [kinds[0], row]
    if named:
        rows.insert(0, {**record(outputs), "additionalProperties": True})
    return {"type": "array", "items": _any(rows)}


def _any(choices: list[Schema]) -> Schema:
    """Any of these; anything where there are none."""
    return {} if not choices else choices[0] if len(choices) == 1 else {"anyOf": choices}


def has_examples(signature: Signature) -> bool:
    """Whether `example_row` knows a value for each column."""
    return all(field.example is not None or field.type in _EXAMPLES for field in signature.inputs)


def example_row(signature: Signature) -> list[Any]:
    """A made-up row, where the artifact has no example."""
    return [field.example if field.example is not None else _EXAMPLES[field.type] for field in signature.inputs]
