"""Tensors of the Open Inference Protocol: names of types, data in JSON and in binary."""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

import msgspec
import numpy as np

from legion.errors import InputError
from legion.signature import DATATYPES

_DTYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})
_INTS = frozenset({name for name in _DTYPES if "INT" in name})
# Column types whose values the JSON types below are already.
PLAIN: FrozenSet[str] = frozenset({"double", "float", "long", "integer", "boolean", "string"})
_ACCEPTED = {
    "double": _FLOATS | _INTS,
    "float": _FLOATS | _INTS,
    "long": _INTS,
    "integer": _INTS,
    "boolean": frozenset({"BOOL"}),
    "string": frozenset({"BYTES"}),
    "datetime": frozenset({"BYTES"}),
    "binary": frozenset({"BYTES"}),
}
_MOST_DIMENSIONS = 16


class Described(msgspec.Struct, frozen=True):
    """A tensor as the JSON part has it."""

    name: str
    shape: List[int]
    datatype: str
    parameters: Dict[str, Any] = {}
    data: msgspec.Raw = msgspec.Raw()


class Tensor:
    """`array` holds what came in binary, `flat` what came as JSON, row-major; one of the two is there."""

    __slots__ = ("array", "datatype", "flat", "name", "shape")

    def __init__(self, name: str, shape: List[int], datatype: str) -> None:
        self.name = name
        self.shape = shape
        self.datatype = datatype
        self.array: Optional[np.ndarray[Any, Any]] = None
        self.flat: Optional[List[Any]] = None

    def values(self) -> List[Any]:
        """All values in a row, as Python has them."""
        if self.flat is not None:
            return self.flat
        assert self.array is not None
        values: List[Any] = self.array.ravel().tolist()
        return values

    def nested(self) -> Any:
        """The values as a nest of lists of the tensor's shape."""
        level: List[Any] = self.values()
        for width in reversed(self.shape[1:]):
            count = len(level) // width if width else 0
            level = [level[place * width : (place + 1) * width] for place in range(count)]
        return level


# From the datatype to what its JSON values are read as; floats may be null, for NaN.
_FLOAT_LIST = msgspec.json.Decoder(List[Optional[float]]).decode
_INT_LIST = msgspec.json.Decoder(List[int]).decode
_BOOL_LIST = msgspec.json.Decoder(List[bool]).decode
_TEXT_LIST = msgspec.json.Decoder(List[str]).decode


def read(described: Described, binary: memoryview) -> Tuple[Tensor, memoryview]:
    """The tensor, and the binary data that is left. Raises InputError."""
    name, shape, datatype = described.name, described.shape, described.datatype
    if datatype not in _DTYPES and datatype not in ("BYTES", "BF16"):
        raise InputError(f"the tensor {name[:60]!r} has the unknown datatype {datatype[:20]!r}", kind="syntax")
    count = _count(name, shape)
    tensor = Tensor(name, shape, datatype)
    size = described.parameters.get("binary_data_size")
    if size is None:
        tensor.flat = _from_json(tensor, bytes(described.data), count)
        return tensor, binary
    if bytes(described.data):
        raise InputError(f"the tensor {name[:60]!r} has both data and binary_data_size; send one", kind="syntax")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary):
        raise InputError(f"the tensor {name[:60]!r} has {size!r} bytes, which are not there", kind="syntax")
    _from_binary(tensor, binary[:size], count)
    return tensor, binary[size:]


def _count(name: str, shape: List[int]) -> int:
    if not shape or len(shape) > _MOST_DIMENSIONS or not all(0 <= width < 2**63 for width in shape):
        raise InputError(
            f"the tensor {name[:60]!r} has no shape that can be; give its sizes, such as [1, 4]", kind="syntax"
        )
    count = 1
    for width in shape:
        count *= width
    return count


def _from_json(tensor: Tensor, raw: bytes, count: int) -> List[Any]:
    if not raw:
        raise InputError(f"the tensor {tensor.name[:60]!r} has no data", kind="syntax")
    datatype = tensor.datatype
    decode = _TEXT_LIST if datatype == "BYTES" else _BOOL_LIST if datatype == "BOOL" else _INT_LIST
    if datatype in _FLOATS:
        decode = _FLOAT_LIST  # type: ignore[assignment]
    try:
        flat: List[Any] = decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        flat = _patient(tensor, raw, decode)
    if len(flat) != count:
        raise InputError(
            f"the tensor {tensor.name[:60]!r} has {len(flat)} values and its shape {tensor.shape} says {count}",
            kind="syntax",
        )
    if datatype in _FLOATS and None in flat:
        flat = [float("nan") if value is None else value for value in flat]
    return flat


def _patient(tensor: Tensor, raw: bytes, decode: Any) -> List[Any]:
    """Nested data, and NaN as Python's json writes it; says what is wrong with the rest."""
    try:
        level = json.loads(raw)
    except (ValueError, RecursionError):
        raise InputError(
            f"the data of the tensor {tensor.name[:60]!r} is no JSON that can be read", kind="syntax"
        ) from None
    level = level if isinstance(level, list) else [level]
    for _ in range(_MOST_DIMENSIONS):
        if not any(isinstance(item, list) for item in level):
            break
        level = [value for item in level for value in (item if isinstance(item, list) else [item])]
    if tensor.datatype in _FLOATS:
        level = [None if value != value else value for value in level]
    try:
        flat: List[Any] = decode(json.dumps(level).encode())
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(
            f"the tensor {tensor.name[:60]!r} holds what is no {tensor.datatype} ({str(error)[:100]})",
            column=tensor.name,
        ) from None
    return flat


def _from_binary(tensor: Tensor, data: memoryview, count: int) -> None:
    if tensor.datatype == "BYTES":
        tensor.flat = _texts(tensor, bytes(data), count)
        return
    dtype = np.dtype("<u2" if tensor.datatype == "BF16" else _DTYPES[tensor.datatype])
    if len(data) != count * dtype.itemsize:
        raise InputError(
            f"the tensor {tensor.name[:60]!r} has {len(data)} bytes and its shape {tensor.shape} says "
            f"{count * dtype.itemsize}",
            kind="syntax",
        )
    array = np.frombuffer(data, dtype)
    if tensor.datatype == "BF16":
        # The upper half of a 32-bit float.
        array = (array.astype(np.uint32) << 16).view(np.float32)
    tensor.array = array


def _texts(tensor: Tensor, data: bytes, count: int) -> List[str]:
    """Each value has its length before it, in four bytes."""
    texts: List[str] = []
    place = 0
    while place < len(data) and len(texts) <= count:
        end = place + 4 + (struct.unpack_from("<I", data, place)[0] if place + 4 <= len(data) else len(data))
        if end > len(data):
            raise InputError(f"the binary data of the tensor {tensor.name[:60]!r} ends within a value", kind="syntax")
        try:
            texts.append(data[place + 4 : end].decode())
        except UnicodeDecodeError:
            raise InputError(f"the tensor {tensor.name[:60]!r} holds what is no UTF-8", column=tensor.name) from None
        place = end
    if len(texts) != count:
        raise InputError(
            f"the tensor {tensor.name[:60]!r} has {len(texts)} values and its shape {tensor.shape} says {count}",
            kind="syntax",
        )
    return texts


def check_kind(tensor: Tensor, kind: Optional[str]) -> None:
    """Raise InputError where a column of this type takes no such tensor."""
    if kind is not None and tensor.datatype not in _ACCEPTED[kind]:
        raise InputError(
            f"the column {tensor.name[:60]!r} takes {DATATYPES[kind]}, not {tensor.datatype}", column=tensor.name
        )
    if kind in ("double", "float") and tensor.datatype in _INTS and tensor.flat is not None:
        tensor.flat = [float(value) for value in tensor.flat]
    elif kind in ("double", "float") and tensor.array is not None and tensor.array.dtype.kind in "iu":
        tensor.array = tensor.array.astype(np.float64)


def write(name: str, shape: List[int], flat: List[Any], binary: bool) -> Tuple[Dict[str, Any], Optional[bytes]]:
    """The tensor for the JSON part and, with `binary`, its data."""
    datatype = _datatype(flat)
    described: Dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
    if not binary:
        described["data"] = flat if datatype != "BYTES" else [_text(value) for value in flat]
        return described, None
    if datatype == "BYTES":
        texts = [_text(value).encode() for value in flat]
        data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    else:
        values = [float("nan") if value is None else value for value in flat] if datatype == "FP64" else flat
        data = np.array(values, dtype=_DTYPES[datatype]).tobytes()
    described["parameters"] = {"binary_data_size": len(data)}
    return described, data


def _datatype(flat: List[Any]) -> str:
    kinds = {type(value) for value in flat}
    if kinds <= {float, type(None)} or (kinds <= {float, int, type(None)} and kinds & {float, type(None)}):
        return "FP64"
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64" if all(-(2**63) <= value < 2**63 for value in flat) else "BYTES"
    return "BYTES"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
