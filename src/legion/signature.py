"""What goes into a model and what comes out, whatever made the model.

Three kinds cover everything:

- `columns`: a table of named or unnamed scalar columns; Legion reads and checks such requests itself;
- `tensor`: one or several n-dimensional arrays;
- `opaque`: anything else (no signature, nested objects, type hints); the reference path reads those.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Optional, Tuple

import msgspec

SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
# The Open Inference Protocol's names of these types, and of an output that has no name.
DATATYPES = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
    "string": "BYTES",
    "datetime": "BYTES",
    "binary": "BYTES",
}
PREDICT = "predict"
_NUMERIC = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)")


class Field(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column, or one tensor. `name` is None where the signature leaves it out.

    `type` is one of SCALARS for a column; `tensor` (with `dtype` and `shape`, -1 for a free dimension);
    or `any`, `array`, `object`, `map` with MLflow's own description in `schema`.
    """

    name: Optional[str]
    type: str
    required: bool = True
    dtype: Optional[str] = None
    shape: Optional[Tuple[int, ...]] = None
    schema: Optional[Dict[str, Any]] = None
    example: Any = None

    @property
    def datatype(self) -> str:
        """Its type in the Open Inference Protocol."""
        if self.dtype is not None and _NUMERIC.fullmatch(self.dtype):
            return self.dtype.upper().replace("FLOAT", "FP")
        return DATATYPES.get(self.type, "BYTES")


class Param(msgspec.Struct, frozen=True, omit_defaults=True):
    """One inference parameter with its default; `shape` is None for a scalar, (-1,) for a list."""

    name: str
    type: str
    default: Any = None
    shape: Optional[Tuple[int, ...]] = None


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """`inputs` is empty where nothing is declared. `params` is None where no parameter schema exists."""

    inputs: Tuple[Field, ...] = ()
    outputs: Tuple[Field, ...] = ()
    params: Optional[Tuple[Param, ...]] = None
    from_type_hints: bool = False

    @property
    def kind(self) -> str:
        """`columns`, `tensor` or `opaque`."""
        if not self.inputs or self.from_type_hints:
            return "opaque"
        if all(field.type in SCALARS for field in self.inputs):
            return "columns"
        if all(field.type == "tensor" for field in self.inputs):
            return "tensor"
        return "opaque"

    @property
    def named(self) -> bool:
        """Whether every input has a name."""
        return all(field.name is not None for field in self.inputs)


def _field(spec: Dict[str, Any]) -> Field:
    kind = spec["type"]
    if kind == "tensor":
        inner = spec["tensor-spec"]
        return Field(spec.get("name"), kind, dtype=inner["dtype"], shape=tuple(inner["shape"]))
    required = spec.get("required", not spec.get("optional", False))
    schema = None if kind in SCALARS else {k: v for k, v in spec.items() if k not in ("name", "required")}
    return Field(spec.get("name"), kind, required=required, schema=schema)


def _fields(text: Optional[str]) -> Tuple[Field, ...]:
    return tuple(_field(spec) for spec in json.loads(text)) if text else ()


def from_mlflow(signature: Optional[Dict[str, Any]], *, from_type_hints: bool = False) -> Signature:
    """Read the `signature` section of an MLmodel file (JSON strings under inputs, outputs, params).

    Source: https://mlflow.org/docs/latest/ml/model/signatures
    """
    if not signature:
        return Signature(from_type_hints=from_type_hints)
    params: Optional[Tuple[Param, ...]] = None
    if signature.get("params"):
        specs: List[Dict[str, Any]] = json.loads(signature["params"])
        params = tuple(
            Param(
                spec["name"],
                spec.get("type") or spec.get("dtype", "any"),
                spec.get("default"),
                None if spec.get("shape") is None else tuple(spec["shape"]),
            )
            for spec in specs
        )
    return Signature(_fields(signature.get("inputs")), _fields(signature.get("outputs")), params, from_type_hints)
