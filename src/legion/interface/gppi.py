"""GPPI, generation 2: a Python module with `init` and `predict_on_matrix` or `predict_on_objects`.

The module reads MODEL_LOCATION, so that is set before it is imported; a process holds one such module.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from legion.errors import InputError, WorkerError
from legion.interface import result
from legion.interface.table import Table
from legion.signature import SCALARS, Field, Signature
from legion.wire import Plan

DTYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}
# How descriptions in the wild name their types → the signature's names.
_TYPES = {
    "number": "double",
    "float": "double",
    "float64": "double",
    "float32": "float",
    "int": "long",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
    "str": "string",
    "object": "string",
    "bytes": "binary",
    "date-time": "datetime",
}


class Gppi:
    """A GPPI module as a model. `mode` is what its `init` returned."""

    path = "gppi"

    def __init__(self, module: Any, signature: Signature) -> None:
        self._module = module
        mode = module.init()
        if mode not in ("matrix", "objects"):
            raise WorkerError(f"init() of the entrypoint returned {mode!r}; let it return 'matrix' or 'objects'")
        self.mode: str = mode
        call = "predict_on_matrix" if mode == "matrix" else "predict_on_objects"
        if not callable(getattr(module, call, None)):
            raise WorkerError(f"init() of the entrypoint returned {mode!r}, so define {call}()")
        self._predict: Callable[..., Any] = getattr(module, call)
        self._input_type = _object_type(module, "get_object_input_type")
        self.output_type = _object_type(module, "get_object_output_type")
        self._serializer = _optional(module, "get_output_json_serializer")
        self._info = _optional(module, "get_info", "info")
        declared = _declared(self._info)
        self.signature = declared if declared is not None else signature

    def predict(self, table: Table, params: Optional[Dict[str, Any]]) -> Any:
        """Call the module; objects are validated by the declared pydantic model, if there is one."""
        if self.mode == "objects":
            return self._serialised(self._predict(self._objects(table.objects or [])))
        names = None if table.names is None else list(table.names)
        raw = _named(self._predict(self._matrix(table), provided_columns_names=names), table.n)
        return self._serialised(raw)

    def _matrix(self, table: Table) -> Any:
        """The argument of predict_on_matrix: of one numeric type where the columns allow it, else of objects.

        The type comes from the signature where there is one, so that it is the same whatever rows are merged.
        """
        if table.block is not None:
            return table.block
        kinds = {field.type for field in self.signature.inputs}
        rows = table.rows or []
        width = len(rows[0]) if rows else len(table.names or self.signature.inputs)
        if kinds and kinds <= set(DTYPES):
            dtype = np.result_type(*(np.dtype(DTYPES[kind]) for kind in kinds))
            return table.matrix(dtype).reshape(table.n, width)
        found = {type(value) for row in rows for value in row}
        if rows and not kinds and (found <= {int, float} or found in ({bool}, {str})):
            return np.array(rows)
        matrix = np.empty((table.n, width), dtype=object)
        for i, row in enumerate(rows):
            matrix[i] = row
        return matrix

    def _serialised(self, raw: Any) -> Any:
        """The values as the module's own JSON encoder class writes them, where it declares one."""
        if self._serializer is None:
            return raw
        try:
            text = json.dumps(raw, cls=self._serializer)
        except TypeError:
            # The class need not know arrays and frames.
            text = json.dumps(result.items_of(raw), cls=self._serializer)
        return json.loads(text)

    def _objects(self, objects: List[Any]) -> List[Any]:
        # pydantic 2, then 1.
        validate = getattr(self._input_type, "model_validate", None) or getattr(self._input_type, "parse_obj", None)
        if validate is None:
            return objects
        checked = []
        for row, item in enumerate(objects):
            try:
                checked.append(validate(item))
            except ValueError as error:
                where, text = _first_fault(error)
                raise InputError(f"row {row}, field {where!r}: {text}", row=row, column=where) from None
        return checked

    def invoke(self, body: bytes, content_type: Optional[str]) -> Tuple[int, bytes, str]:
        """Never asked for: a GPPI module takes rows or objects."""
        raise NotImplementedError

    def describe(self) -> Optional[Dict[str, Any]]:
        """The OpenAPI document that get_info() gives, where it gives one."""
        return self._info if isinstance(self._info, dict) and "openapi" in self._info else None

    def encode(self, value: Any) -> Optional[bytes]:
        """The module's own JSON encoder has been at work in `predict` already."""
        return None

    def object_schemas(self) -> Tuple[Optional[Dict[str, Any]], Optional[Dict[str, Any]]]:
        """JSON Schemas of the declared input and output objects, where they are pydantic models."""
        return _json_schema(self._input_type), _json_schema(self.output_type)


def load(plan: Plan) -> Gppi:
    """Import the entrypoint in its working directory. Raises WorkerError with what to correct."""
    workdir = Path(plan.folder, plan.workdir).resolve()
    os.environ["MODEL_LOCATION"] = plan.model_location
    os.chdir(workdir)
    sys.path.insert(0, str(workdir))
    name = plan.entrypoint[:-3] if plan.entrypoint.endswith(".py") else plan.entrypoint
    try:
        module = importlib.import_module(name.replace("/", "."))
    except ModuleNotFoundError as error:
        if error.name == name:
            raise WorkerError(f"the entrypoint {name!r} is not in {plan.workdir}; correct model.entrypoint") from None
        raise
    if not callable(getattr(module, "init", None)):
        raise WorkerError(f"the entrypoint {name!r} has no init(); it must return 'matrix' or 'objects'")
    return Gppi(module, plan.signature)


def _named(raw: Any, n: int) -> Any:
    """A (matrix, column names) pair, or a Series that has a name, as one dict a row; anything else as rows.

    Raises ValueError where the names do not fit, or there are not `n` rows.
    """
    matrix, names = raw if _is_pair(raw) else (raw, None)
    if hasattr(matrix, "to_frame") and not hasattr(matrix, "columns"):
        names = [matrix.name] if names is None and isinstance(matrix.name, str) else names
        matrix = matrix.to_numpy()
    if names is not None and hasattr(matrix, "columns"):
        matrix = matrix.to_numpy()
    rows = _rows(matrix)
    if len(rows) != n:
        raise ValueError(f"the model gave {len(rows)} answers for {n} rows")
    if names is None:
        return rows
    rows = [row if isinstance(row, list) else [row] for row in rows]
    wrong = next((row for row in rows if len(row) != len(names)), None)
    if wrong is not None:
        raise ValueError(f"the model gave {len(names)} column names for {len(wrong)} columns")
    return [dict(zip(names, row)) for row in rows]


def _rows(matrix: Any) -> List[Any]:
    """The rows of any kind of matrix; their cells may still be anything."""
    if isinstance(matrix, (list, tuple)):
        return [list(row) if isinstance(row, (tuple, np.ndarray)) else row for row in matrix]
    rows = result.items_of(matrix)
    return rows if isinstance(rows, list) else [rows]


def _is_pair(raw: Any) -> bool:
    if not (isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[1], (list, tuple)) and raw[1]):
        return False
    if not all(isinstance(name, str) for name in raw[1]):
        return False
    # Two rows of text look like it, but for the first one, which is no matrix.
    flat = isinstance(raw[0], (list, tuple)) and not any(isinstance(row, (list, tuple, np.ndarray)) for row in raw[0])
    return not flat or len(raw[1]) == 1


def _optional(module: Any, *names: str) -> Any:
    for name in names:
        function = getattr(module, name, None)
        if callable(function):
            return function()
    return None


def _object_type(module: Any, name: str) -> Any:
    declared = _optional(module, name)
    # typing.List[Wine] → Wine: the type of one object.
    arguments = getattr(declared, "__args__", None)
    if arguments and not inspect.isclass(declared):
        return arguments[0]
    return declared


def _json_schema(declared: Any) -> Optional[Dict[str, Any]]:
    schema = getattr(declared, "model_json_schema", None) or getattr(declared, "schema", None)
    return schema() if callable(schema) else None


def _declared(info: Any) -> Optional[Signature]:
    """The signature out of get_info()'s pair of lists, or None where it says nothing of the kind."""
    if not (isinstance(info, (tuple, list)) and len(info) == 2):
        return None
    inputs, outputs = (_described(side) for side in info)
    return Signature(inputs, outputs) if inputs else None


def _described(side: Any) -> Tuple[Field, ...]:
    fields = []
    for item in side or ():
        read = item.get if isinstance(item, dict) else lambda key, default=None, item=item: getattr(item, key, default)
        kind = str(read("type", "double"))
        kind = _TYPES.get(kind, kind)
        if kind not in SCALARS:
            return ()
        fields.append(Field(str(read("name")), kind, bool(read("required", True)), example=read("example")))
    return tuple(fields)


def _first_fault(error: ValueError) -> Tuple[str, str]:
    errors = getattr(error, "errors", None)
    if callable(errors):
        fault = errors()[0]
        return ".".join(str(part) for part in fault["loc"]), str(fault["msg"])
    return "", str(error)
