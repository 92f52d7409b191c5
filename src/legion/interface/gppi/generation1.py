"""GPPI, generation 1: a Python module whose `init` returns nothing, with `predict_matrix` or `predict`."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from legion.errors import WorkerError
from legion.interface import result
from legion.interface.gppi import description, serializer
from legion.interface.gppi.typed_rows import TypedRows
from legion.interface.matrix import block_of
from legion.interface.table import Table
from legion.signature import Field, Signature


class Gppi1:
    """A module of generation 1 as a model: in mode `matrix` where it has predict_matrix, else in mode `objects`.

    `init` has been called. Raises WorkerError with what to correct in the module.
    """

    path = "gppi"
    FUNCTIONS = ("predict_matrix", "predict")

    def __init__(self, module: Any, signature: Signature) -> None:
        matrix = getattr(module, "predict_matrix", None)
        self.mode = "matrix" if callable(matrix) else "objects"
        self._predict: Any = matrix if callable(matrix) else module.predict
        self._said = description.read(description.asked(module, "info"))
        self._input = self._said.input.type
        self.checks_objects = self._input is not None
        self._serializer = serializer.of(description.asked(module, "get_json_encoder"))
        self._typed: Optional[TypedRows] = None
        self._vector: Tuple[Field, ...] = ()
        self.signature = signature
        if self.mode == "matrix":
            self._take_columns(_order(description.asked(module, "columns_order")))

    def _take_columns(self, order: Optional[Tuple[str, ...]]) -> None:
        """The columns that a request brings, and those that become the vector."""
        fields, outputs = self.signature.inputs, self.signature.outputs or self._said.output.fields
        if self._input is not None:
            self._typed = TypedRows(self._input, order)
            self._vector = self._typed.vector
            self.signature = Signature(self._typed.fields, outputs, from_type_hints=True)
            return
        known = {field.name: field for field in self._said.input.fields or fields}
        if order is not None:
            if known and set(known) != set(order):
                odd = min(set(map(str, known)) ^ set(order))
                raise WorkerError(f"columns_order() and the described columns differ in {odd!r}; correct one of them")
            self._vector = tuple(known.get(name, Field(name, "any")) for name in order)
            self.signature = Signature(self._vector, outputs)
        elif self._said.input.fields:
            self._vector = self._said.input.fields
            self.signature = Signature(self._vector, outputs)
        else:
            self._vector = fields

    def predict(self, table: Table, params: Optional[Dict[str, Any]]) -> Any:
        """Call the module, once a matrix or once an object; the type of `info()` checks what goes in."""
        if self.mode == "objects":
            objects = table.objects or []
            rows: Any = [self._predict(one) for one in (objects if self._input is None else self._input.read(objects))]
        else:
            table = table if self._typed is None else self._typed.read(table)
            rows = result.rows_of(self._predict(block_of(table, [field.type for field in self._vector])), table.n)
        return rows if self._serializer is None else self._serializer.plain(rows)

    def invoke(self, body: bytes, content_type: Optional[str]) -> Tuple[int, bytes, str]:
        """Never asked for: a GPPI module takes rows or objects."""
        raise NotImplementedError

    def describe(self) -> Optional[Dict[str, Any]]:
        """What `info()` gives: an OpenAPI document, or the type of one object."""
        inputs = self._said.input.schema if self._input is None else self._input.told()
        declared = self._said.output.type
        outputs = self._said.output.schema if declared is None else declared.told("serialization")
        return description.extended(self._said.document, inputs, outputs)

    def encode(self, value: Any) -> Optional[bytes]:
        """The module's own JSON encoder has been at work in `predict` already."""
        return None


def _order(order: Any) -> Optional[Tuple[str, ...]]:
    if order is None:
        return None
    if isinstance(order, str) or not all(isinstance(name, str) for name in order) or len(set(order)) != len(order):
        raise WorkerError("columns_order() must return a list of column names, each once")
    return tuple(order)
