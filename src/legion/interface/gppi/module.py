"""GPPI: a Python module that predicts. Generation 2 is here, generation 1 in gppi1.py; `load` tells them apart.

The module reads MODEL_LOCATION, so that is set before it is imported; a process holds one such module.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, Union

from legion.errors import WorkerError
from legion.interface import result
from legion.interface.gppi import description, object_type, serializer
from legion.interface.gppi.generation1 import Gppi1
from legion.interface.gppi.typed_rows import TypedRows
from legion.interface.matrix import block_of
from legion.interface.table import Table
from legion.signature import Signature
from legion.wire import Plan

# What init() returns in generation 2 → the function that predicts.
FUNCTIONS = {"matrix": "predict_on_matrix", "objects": "predict_on_objects"}


class Gppi:
    """A module of generation 2 as a model. `mode` is what its `init` returned; without it, init is called here.

    Raises WorkerError with what to correct in the module.
    """

    path = "gppi"

    def __init__(self, module: Any, signature: Signature, mode: Any = None) -> None:
        self.mode: str = module.init() if mode is None else mode
        if self.mode not in FUNCTIONS:
            raise WorkerError(f"init() of the entrypoint returned {self.mode!r}; let it return 'matrix' or 'objects'")
        call = FUNCTIONS[self.mode]
        if not callable(getattr(module, call, None)):
            raise WorkerError(f"init() of the entrypoint returned {self.mode!r}, so define {call}()")
        self._predict: Callable[..., Any] = getattr(module, call)
        said = description.read(description.asked(module, "get_info", "info"))
        self._said = said
        self._input = object_type.of(description.asked(module, "get_object_input_type")) or said.input.type
        self._output = object_type.of(description.asked(module, "get_object_output_type")) or said.output.type
        self.checks_objects = self._input is not None
        self._serializer = serializer.of(description.asked(module, "get_output_json_serializer"))
        self._typed: Optional[TypedRows] = None
        self.signature = signature
        if said.input.fields:
            self.signature = Signature(said.input.fields, said.output.fields)
        elif self.mode == "matrix" and said.input.type is not None:
            self._typed = TypedRows(said.input.type)
            outputs = said.output.type.columns() if said.output.type is not None else said.output.fields
            self.signature = Signature(self._typed.fields, outputs, from_type_hints=True)

    def predict(self, table: Table, params: Optional[Dict[str, Any]]) -> Any:
        """Call the module; what it declares a type for is checked by it, on the way in and on the way out."""
        if self.mode == "objects":
            objects = table.objects or []
            raw = self._predict(objects if self._input is None else self._input.read(objects))
            rows = result.rows_of(raw, table.n)
            if self._output is not None:
                rows = self._output.write(rows, plain=self._serializer is None)
        else:
            table = table if self._typed is None else self._typed.read(table)
            block = block_of(table, [field.type for field in self.signature.inputs])
            names = None if table.names is None else list(table.names)
            rows = result.rows_of(self._predict(block, provided_columns_names=names), table.n)
        return rows if self._serializer is None else self._serializer.plain(rows)

    def invoke(self, body: bytes, content_type: Optional[str]) -> Tuple[int, bytes, str]:
        """Never asked for: a GPPI module takes rows or objects."""
        raise NotImplementedError

    def describe(self) -> Optional[Dict[str, Any]]:
        """The module's own OpenAPI document and the JSON Schemas of its objects, where it has them."""
        said = self._said
        inputs = said.input.schema if self._input is None else self._input.told()
        outputs = said.output.schema if self._output is None else self._output.told("serialization")
        return description.extended(said.document, inputs, outputs)

    def encode(self, value: Any) -> Optional[bytes]:
        """The module's own JSON encoder has been at work in `predict` already."""
        return None


def of_module(module: Any, signature: Signature) -> Union[Gppi, Gppi1]:
    """The module as a model of its generation: by what `init()` returns, and where that is nothing, by what there is.

    Raises WorkerError where it is of neither.
    """
    mode = module.init()
    if mode is None and any(callable(getattr(module, name, None)) for name in Gppi1.FUNCTIONS):
        return Gppi1(module, signature)
    if mode not in FUNCTIONS:
        raise WorkerError(
            f"init() of the entrypoint returned {mode!r}; let it return 'matrix' or 'objects', "
            "or define predict() or predict_matrix() and let it return nothing"
        )
    return Gppi(module, signature, mode)


def load(plan: Plan) -> Union[Gppi, Gppi1]:
    """Import the entrypoint in its working directory. Raises WorkerError with what to correct."""
    workdir = Path(plan.folder, plan.workdir).resolve()
    os.environ["MODEL_LOCATION"] = plan.model_location
    os.chdir(workdir)
    sys.path.insert(0, str(workdir))
    # What the module starts finds the same modules.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(workdir), os.environ.get("PYTHONPATH"))))
    name = plan.entrypoint[:-3] if plan.entrypoint.endswith(".py") else plan.entrypoint
    name = name.replace("/", ".")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise WorkerError(f"the entrypoint {name!r} is not in {plan.workdir}; correct model.entrypoint") from None
        raise
    if not callable(getattr(module, "init", None)):
        raise WorkerError(f"the entrypoint {name!r} has no init(); it must return 'matrix' or 'objects'")
    return of_module(module, plan.signature)
