"""The Open Inference Protocol, version 2: tensors in, tensors out, as JSON or with their data in binary behind it.

Protocol: https://github.com/kserve/open-inference-protocol; binary data as Triton's extension describes it.

A model of columns takes one tensor a column, of shape [n] or [n, 1], or all columns as one numeric tensor of shape
[n, columns] under any other name. A model of tensors takes its own.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import msgspec
import numpy as np

from legion.errors import InputError
from legion.interface import result
from legion.interface.model import Model
from legion.interface.redaction import shown
from legion.interface.table import Table
from legion.signature import PREDICT
from legion.wire import Call
from legion.worker.codecs import tensors
from legion.worker.codecs.request import Request, media_type, reader_for
from legion.worker.codecs.tensors import Tensor
from legion.worker.reading.rows import RowReader

# How the gateway hands the header of that name on.
HEADER_LENGTH = "inference-header-content-length"


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: Dict[str, Any] = {}


class _Body(msgspec.Struct, frozen=True):
    inputs: List[tensors.Described]
    id: Optional[str] = None
    parameters: Dict[str, Any] = {}
    outputs: Optional[List[_Output]] = None


class Wanted(NamedTuple):
    """What the answer to a request is to hold: `outputs` by name with whether in binary, None for all of them."""

    id: Optional[str]
    outputs: Optional[Dict[str, bool]]
    binary: bool


class OpenInference:
    """The codec for one model. `name` and `version` go into the answers."""

    def __init__(self, model: Model, name: str, version: str) -> None:
        self._model = model
        self._name = name
        self._version = version
        self._rows = reader_for(model)
        self._kinds = {field.name: field.type for field in model.signature.inputs}
        self._decode = msgspec.json.Decoder(_Body).decode
        names = [field.name for field in model.signature.outputs]
        self._outputs = [str(each) for each in names] if names and None not in names else None

    def decode(self, call: Call) -> Request:
        """Read a body to a table."""
        inputs, wanted = self.read(call)
        return Request(self._table(inputs), None, wanted)

    def read(self, call: Call) -> Tuple[List[Tensor], Wanted]:
        """The request's tensors, and what it wants back. Raises InputError."""
        body, rest = self._split(call)
        inputs = []
        for described in body.inputs:
            tensor, rest = tensors.read(described, rest)
            inputs.append(tensor)
        if rest:
            raise InputError("there is more binary data than the tensors have; correct binary_data_size", kind="syntax")
        if not inputs:
            raise InputError("'inputs' must hold at least one tensor", kind="syntax")
        if len({tensor.name for tensor in inputs}) != len(inputs):
            raise InputError("a tensor is there twice; send each input once", kind="syntax")
        return inputs, _wanted(body)

    def _split(self, call: Call) -> Tuple[_Body, memoryview]:
        """The JSON part, and the binary data behind it."""
        kind, parameters = media_type(call.content_type)
        length = parameters.get(HEADER_LENGTH)
        if kind not in ("application/json", "application/octet-stream"):
            raise InputError(f"the content type {kind!r} is not read here; send application/json", kind="media-type")
        whole = memoryview(call.body)
        size = len(whole) if length is None else int(length) if length.isdigit() and len(length) < 12 else -1
        if not 0 <= size <= len(whole):
            raise InputError("Inference-Header-Content-Length is no length of this body; correct it", kind="syntax")
        try:
            return self._decode(whole[:size]), whole[size:]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InputError(f"the body is no inference request ({str(error)[:200]})", kind="syntax") from None

    def _table(self, inputs: List[Tensor]) -> Table:
        kinds = self._kinds
        first = inputs[0]
        if len(inputs) == 1 and first.name not in kinds and len(first.shape) == 2:
            return self._positional(first)
        _check_columns(inputs)
        columns = [tensor.name for tensor in inputs]
        rows = self._rows
        if isinstance(rows, RowReader):
            rows.order(columns)
            for tensor in inputs:
                tensors.check_kind(tensor, kinds.get(tensor.name))
            if self._model.mode != "objects" and all(tensor.array is not None for tensor in inputs):
                table = rows.array(columns, [tensor.array.ravel() for tensor in inputs if tensor.array is not None])
                if table is not None:
                    return table
        data: List[Sequence[Any]] = [list(row) for row in zip(*(tensor.values() for tensor in inputs))]
        if self._model.mode == "objects":
            return Table(None, len(data), objects=[dict(zip(columns, row)) for row in data])
        if isinstance(rows, RowReader) and all(kinds.get(name) in tensors.PLAIN for name in columns):
            fields, reorder = rows.order(columns)
            if len(fields) == len(rows.fields):
                return rows.quick(data, reorder)
        return rows.split(columns, data)

    def _positional(self, tensor: Tensor) -> Table:
        """One tensor of all columns, in the signature's order."""
        n, width = tensor.shape
        rows = self._rows
        if self._model.mode == "objects":
            raise InputError("this model takes objects; send one tensor a field, each of shape [n]")
        if not width:
            raise InputError(f"the tensor {tensor.name[:60]!r} has the shape {tensor.shape}, which has no columns")
        if isinstance(rows, RowReader):
            if width != len(rows.fields):
                raise InputError(f"the model takes {len(rows.fields)} columns and the tensor has {width}")
            for kind in set(rows.kinds):
                tensors.check_kind(tensor, kind)
            if tensor.array is not None and tensor.array.dtype.kind == "f" and set(rows.kinds) <= {"double", "float"}:
                return Table(rows.names, n, block=tensor.array.reshape(n, width).astype(np.float64))
        flat = tensor.values()
        data: List[Sequence[Any]] = [flat[start : start + width] for start in range(0, n * width, width)]
        if isinstance(rows, RowReader) and set(rows.kinds) <= tensors.PLAIN:
            return rows.quick(data, None)
        return rows.split(None, data)

    def invocation(self, inputs: List[Tensor]) -> bytes:
        """The same request in MLflow's protocol, for a model that reads whole bodies itself."""
        signature = self._model.signature
        if signature.kind == "tensor" and signature.named:
            return result.to_json({"inputs": {tensor.name: tensor.nested() for tensor in inputs}})
        if signature.kind == "columns" or all(len(tensor.shape) == 1 for tensor in inputs):
            names = [tensor.name for tensor in inputs]
            rows = [list(row) for row in zip(*(tensor.values() for tensor in inputs))]
            return result.to_json({"dataframe_split": {"columns": names, "data": rows}})
        if len(inputs) > 1:
            raise InputError("the model takes one tensor; send one input")
        return result.to_json({"inputs": inputs[0].nested()})

    def encode(self, items: Any, wanted: Wanted) -> Tuple[bytes, Optional[str]]:
        """One tensor a column of the answer, or one for all of it; the content type where there is binary data."""
        found = _columns(items, self._outputs)
        names = list(found) if wanted.outputs is None else list(wanted.outputs)
        unknown = next((name for name in names if name not in found), None)
        if unknown is not None:
            raise InputError(f"the model has no output {unknown[:60]!r}; it has: {', '.join(found)}")
        outputs, binary = [], []
        for name in names:
            in_binary = wanted.binary if wanted.outputs is None else wanted.outputs[name]
            described, data = tensors.write(name, *found[name], in_binary)
            outputs.append(described)
            if data is not None:
                binary.append(data)
        answer: Dict[str, Any] = {"model_name": self._name, "model_version": self._version, "outputs": outputs}
        if wanted.id is not None:
            answer["id"] = wanted.id
        head = result.to_json(answer)
        if not binary:
            return head, None
        return b"".join([head, *binary]), f"application/octet-stream;{HEADER_LENGTH}={len(head)}"

    def refuse(self, error: Exception) -> Tuple[int, bytes]:
        """`{"error": …}`: 415 for the media type, else 400."""
        status = 415 if isinstance(error, InputError) and error.kind == "media-type" else 400
        text = (
            shown(error)
            if isinstance(error, InputError)
            else f"the model raised {type(error).__name__}: {shown(error)}"
        )
        return status, result.to_json({"error": text})


def _wanted(body: _Body) -> Wanted:
    binary = body.parameters.get("binary_data_output") is True
    if body.outputs is None:
        return Wanted(body.id, None, binary)
    outputs = {}
    for output in body.outputs:
        if output.name in outputs:
            raise InputError(f"the output {output.name[:60]!r} is asked for twice; ask once", kind="syntax")
        if "classification" in output.parameters:
            raise InputError("the classification extension is not served here; ask for the output itself")
        outputs[output.name] = output.parameters.get("binary_data", binary) is True
    return Wanted(body.id, outputs or None, binary)


def _check_columns(inputs: List[Tensor]) -> None:
    """Raises InputError where the tensors are not columns of one length."""
    for tensor in inputs:
        if len(tensor.shape) != 1 and tensor.shape[1:] != [1]:
            raise InputError(
                f"the tensor {tensor.name!r} has the shape {tensor.shape}; a column is [n] or [n, 1]",
                column=tensor.name,
            )
    if len({tensor.shape[0] for tensor in inputs}) > 1:
        raise InputError("the tensors are not of one length; send a value of each column for each row")


def _columns(items: Any, names: Optional[Sequence[str]]) -> Dict[str, Tuple[List[int], List[Any]]]:
    """The answer as tensors: name → shape and flat values."""
    if not isinstance(items, list):
        items = [items]
    n = len(items)
    if items and isinstance(items[0], dict):
        keys = list(items[0])
        return {str(key): _tensor([item.get(key) for item in items], n) for key in keys}
    if names is not None and len(names) == 1:
        return {names[0]: _tensor(items, n)}
    if names is not None and items and isinstance(items[0], list) and len(items[0]) == len(names):
        return {name: _tensor([item[place] for item in items], n) for place, name in enumerate(names)}
    return {PREDICT: _tensor(items, n)}


def _tensor(items: List[Any], n: int) -> Tuple[List[int], List[Any]]:
    """The shape of a regular nest of lists, and its values in a row. Raises TypeError where it is not regular."""
    shape, level = [n], items
    while level and isinstance(level[0], list):
        width = len(level[0])
        if any(not isinstance(item, list) or len(item) != width for item in level):
            raise TypeError("the model's answer is no tensor: its rows are not of one length")
        shape.append(width)
        level = [value for item in level for value in item]
    return shape, level
