"""The tensors that a model takes and gives in the Open Inference Protocol, by its signature or its objects' type."""

from __future__ import annotations

from typing import Any

from legion.gateway.openapi.json_schema import Schema
from legion.signature import PREDICT, SCALARS, Field
from legion.wire import INPUT_SCHEMA, OUTPUT_SCHEMA, Report

# The input of a model whose signature names none, and its output.
INPUT = "input"
_UNNAMED = {"name": PREDICT, "datatype": "FP64", "shape": [-1]}
_COLUMNS = {"number": "double", "integer": "long", "boolean": "boolean", "string": "string"}


def metadata(report: Report) -> dict[str, list[dict[str, Any]]]:
    """`inputs` and `outputs`: name, datatype and shape of each; no inputs where nothing is known of them."""
    signature = report.signature
    outputs = signature.outputs or _fields_of(report, OUTPUT_SCHEMA)
    return {
        "inputs": _described(inputs(report), INPUT),
        "outputs": _described(outputs, PREDICT) or [_UNNAMED],
    }


def inputs(report: Report) -> tuple[Field, ...]:
    """The signature's inputs, or the fields of the type that a model of objects declares."""
    return report.signature.inputs or _fields_of(report, INPUT_SCHEMA)


def columns(report: Report) -> tuple[Field, ...]:
    """The inputs, where they are scalar columns that all have names; else none."""
    fields = inputs(report)
    named = all(field.name is not None and field.type in (*SCALARS, "any") for field in fields)
    return fields if named else ()


def takes_matrix(report: Report) -> bool:
    """Whether the model also takes all its columns as one tensor."""
    return report.mode == "matrix" and report.signature.kind in ("columns", "opaque")


def unnamed(fields: tuple[Field, ...]) -> bool:
    """Whether these are columns that have no names, so that only one tensor of them all makes sense."""
    return len(fields) > 1 and all(field.name is None and field.type != "tensor" for field in fields)


def _described(fields: tuple[Field, ...], name: str) -> list[dict[str, Any]]:
    """One tensor a column, of as many values as there are rows; or the model's own tensors."""
    if unnamed(fields):
        kinds = {field.datatype for field in fields}
        return [{"name": name, "datatype": kinds.pop() if len(kinds) == 1 else "FP64", "shape": [-1, len(fields)]}]
    return [
        {
            "name": name if field.name is None else str(field.name),
            "datatype": field.datatype,
            "shape": [-1] if field.shape is None else list(field.shape),
        }
        for field in fields
    ]


def _fields_of(report: Report, key: str) -> tuple[Field, ...]:
    """The properties of a declared object, none where one that it needs is no scalar: no tensor could hold it."""
    schema = (report.openapi or {}).get(key) if report.mode == "objects" else None
    if not isinstance(schema, dict):
        return ()
    spec = _resolved(schema, schema)
    properties, required = spec.get("properties"), spec.get("required", ())
    if not isinstance(properties, dict):
        return ()
    fields = []
    for name, inner in properties.items():
        kind = _column(inner, schema)
        if kind is not None:
            fields.append(Field(name, kind, name in required))
        elif name in required:
            return ()
    return tuple(fields)


def _column(spec: Any, root: Schema) -> str | None:
    """A property's type as a column's; one that may be null as well is the same column."""
    inner = _resolved(spec, root)
    choices = [one for one in inner.get("anyOf", ()) if _resolved(one, root).get("type") != "null"]
    if len(choices) == 1:
        inner = _resolved(choices[0], root)
    kinds = inner.get("type")
    kinds = [one for one in kinds if one != "null"] if isinstance(kinds, list) else [kinds]
    return _COLUMNS.get(str(kinds[0])) if len(kinds) == 1 else None


def _resolved(spec: Any, root: Schema) -> Schema:
    """The schema, or the definition in `root` that it refers to; empty for anything else."""
    for _ in range(8):
        reference = spec.get("$ref") if isinstance(spec, dict) else None
        if not isinstance(reference, str):
            break
        place, _, name = reference.rpartition("/")
        definitions = root.get(place[2:]) if place in ("#/$defs", "#/definitions") else None
        spec = definitions.get(name) if isinstance(definitions, dict) else None
    return spec if isinstance(spec, dict) else {}
