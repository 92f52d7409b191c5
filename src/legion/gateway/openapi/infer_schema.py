"""What one model's inference requests look like in the Open Inference Protocol, with their data in JSON."""

from __future__ import annotations

from legion.gateway.openapi import signature_schema
from legion.gateway.openapi.json_schema import PLACE, Schema
from legion.gateway.openapi.model_tensors import columns, inputs, takes_matrix, unnamed
from legion.signature import Field
from legion.wire import Report

# The names among the components of what is the same for every model.
TENSOR, OUTPUT = "InferenceTensor", "InferenceOutput"

_FLOATS = ("FP64", "FP32", "FP16", "BF16")
_INTS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
DATATYPES = ("BOOL", *_INTS, *_FLOATS, "BYTES")
_TEXT: Schema = {"type": "string"}
_SIZE: Schema = {"type": "integer", "minimum": 0}
# A column's type → the datatypes it takes, and one value in JSON; null is NaN, so it is there for floats only.
_TAKEN: dict[str, tuple[tuple[str, ...], Schema]] = {
    "double": ((*_FLOATS, *_INTS), {"type": ["number", "null"]}),
    "float": ((*_FLOATS, *_INTS), {"type": ["number", "null"]}),
    "long": (_INTS, {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}),
    "integer": (_INTS, {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}),
    "boolean": (("BOOL",), {"type": "boolean"}),
    "string": (("BYTES",), _TEXT),
    "datetime": (("BYTES",), {"type": "string", "format": "date-time"}),
    "binary": (("BYTES",), {"type": "string", "contentEncoding": "base64"}),
    "any": (DATATYPES, {}),
}
_BY_COLUMN = "One tensor a column, in any order, each of shape [n] or [n, 1]"
_OR_MATRIX = "; or all columns as one tensor under any other name, of shape [n, columns]"


def request(report: Report) -> Schema:
    """An object with `inputs`, typed as far as the model types them."""
    outputs = {"type": "array", "items": {"$ref": PLACE + OUTPUT}}
    return {
        "type": "object",
        "properties": {
            "id": {**_TEXT, "description": "Comes back with the answer."},
            "parameters": {"type": "object"},
            "inputs": _inputs(report),
            "outputs": {**outputs, "description": "The outputs that are wanted, where these are not all."},
        },
        "required": ["inputs"],
    }


def _inputs(report: Report) -> Schema:
    fields, named = inputs(report), columns(report)
    matrix = [_matrix(fields)] if fields and takes_matrix(report) and _common(fields) else []
    if report.signature.kind == "tensor":
        return _list([_own_tensor(field) for field in fields], len(fields), len(fields))
    if named:
        # One schema for all columns of a type.
        kinds = dict.fromkeys(field.type for field in named)
        listed = [_column(kind, [str(field.name) for field in named if field.type == kind]) for kind in kinds]
        by_column = _list(listed, max(sum(field.required for field in named), 1), len(named))
        return {**_any([by_column, *matrix]), "description": f"{_BY_COLUMN}{_OR_MATRIX if matrix else ''}."}
    if unnamed(fields) and matrix:
        return matrix[0]
    return {"type": "array", "items": {"$ref": PLACE + TENSOR}, "minItems": 1}


def _common(fields: tuple[Field, ...]) -> list[str]:
    """The datatypes that suit all of these columns."""
    taken = [_TAKEN.get(field.type, ((), {}))[0] for field in fields]
    return [one for one in taken[0] if all(one in each for each in taken)]


def _matrix(fields: tuple[Field, ...]) -> Schema:
    """One tensor of all columns."""
    value = _TAKEN[fields[0].type][1]
    return _list([_tensor(_TEXT, _common(fields), [_SIZE, {"const": len(fields)}], _nested(value))], 1, 1)


def _column(kind: str, names: list[str]) -> Schema:
    datatypes, value = _TAKEN[kind]
    name = {"type": "string", "enum": names}
    return _tensor(name, list(datatypes), [_SIZE, {"const": 1}], _nested(value), least=1)


def _own_tensor(field: Field) -> Schema:
    """A tensor that the signature has; its values in a row, or in lists of its shape."""
    sizes = field.shape or ()
    value = nested = signature_schema.tensor(field)
    for _ in sizes:
        value = value["items"]
    name = _TEXT if field.name is None else {"type": "string", "const": field.name}
    data = {"anyOf": [{"type": "array", "items": value}, nested]}
    return _tensor(name, [field.datatype], [_SIZE if size < 0 else {"const": size} for size in sizes], data)


def _tensor(name: Schema, datatypes: list[str], sizes: list[Schema], data: Schema, least: int | None = None) -> Schema:
    most = len(sizes)
    shape = {"type": "array", "prefixItems": sizes, "minItems": most if least is None else least, "maxItems": most}
    return {
        "type": "object",
        "properties": {
            "name": name,
            "datatype": {"type": "string", "enum": datatypes},
            "shape": shape,
            "data": data,
            "parameters": {"type": "object"},
        },
        "required": ["name", "datatype", "shape", "data"],
    }


def _nested(value: Schema) -> Schema:
    """Values in a row, or in lists of their own."""
    return {"type": "array", "items": {"anyOf": [value, {"type": "array", "items": value}]} if value else {}}


def _list(choices: list[Schema], least: int, most: int) -> Schema:
    return {"type": "array", "items": _any(choices), "minItems": least, "maxItems": most}


def _any(choices: list[Schema]) -> Schema:
    return choices[0] if len(choices) == 1 else {"anyOf": choices}
