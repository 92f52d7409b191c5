"""An inference of the gRPC service as a body of the same protocol over REST, and its answer back.

What a tensor is stays the worker's to say: raw contents go through as they are, as binary data behind a JSON header;
typed contents are written as the same bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

import msgspec

from legion.gateway.http.offload import Stop, Stopped
from legion.gateway.http.refusal import Refusal
from legion.gateway.open_inference.grpc_messages import message

_Response = message("ModelInferResponse")
# From the datatype to the field of its typed contents and, as the array module has them, the type of its raw values.
_CONTENTS = {
    "BOOL": ("bool_contents", "b"),
    "INT8": ("int_contents", "b"),
    "INT16": ("int_contents", "h"),
    "INT32": ("int_contents", "i"),
    "INT64": ("int64_contents", "q"),
    "UINT8": ("uint_contents", "B"),
    "UINT16": ("uint_contents", "H"),
    "UINT32": ("uint_contents", "I"),
    "UINT64": ("uint64_contents", "Q"),
    "FP32": ("fp32_contents", "f"),
    "FP64": ("fp64_contents", "d"),
    "BYTES": ("bytes_contents", ""),
}
_LENGTH = struct.Struct("<I")
# Tensors, asked-for outputs or parameters of a request; each costs as much time as some hundreds of bytes.
_MOST, _WEIGHT = 16384, 256
# After so many texts it is time to ask whether the caller is still there.
_TEXTS = 4096


def size_of(request: Any) -> int:
    """How much work a ModelInferRequest is, in bytes."""
    return int(request.ByteSize()) + _WEIGHT * (len(request.inputs) + len(request.outputs) + len(request.parameters))


def body_of(request: Any, stop: Stop) -> tuple[bytes, int]:
    """The REST body of a ModelInferRequest, and the length of its JSON header.

    Raises Refusal (400), and Stopped where `stop` says so.
    """
    if max(len(request.inputs), len(request.outputs)) > _MOST:
        raise Refusal(400, f"there are more than {_MOST} inputs or outputs; send all columns as one tensor")
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise Refusal(400, f"there are {len(request.inputs)} inputs and {len(raw)} raw_input_contents; send one each")
    if raw and any(tensor.HasField("contents") for tensor in request.inputs):
        raise Refusal(400, "there are both contents and raw_input_contents; send one of them")
    data = raw or [_written(tensor, stop) for tensor in request.inputs]
    header: dict[str, Any] = {
        "parameters": {**_parameters(request.parameters), "binary_data_output": True},
        "inputs": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "datatype": tensor.datatype,
                "parameters": {**_parameters(tensor.parameters), "binary_data_size": len(part)},
            }
            for tensor, part in zip(request.inputs, data, strict=True)
        ],
    }
    if request.id:
        header["id"] = request.id
    if request.outputs:
        header["outputs"] = [
            {"name": one.name, "parameters": {**_parameters(one.parameters), "binary_data": True}}
            for one in request.outputs
        ]
    head = msgspec.json.encode(header)
    return b"".join((head, *data)), len(head)


def _parameters(given: Any) -> dict[str, Any]:
    if len(given) > _MOST:
        raise Refusal(400, f"there are more than {_MOST} parameters; send fewer")
    chosen = {key: value.WhichOneof("parameter_choice") for key, value in given.items()}
    return {key: getattr(given[key], choice) for key, choice in chosen.items() if choice}


def _written(tensor: Any, stop: Stop) -> bytes | bytearray:
    """Typed contents as raw ones."""
    if stop():
        raise Stopped
    field, code = _CONTENTS.get(tensor.datatype, ("", ""))
    filled = [one.name for one, _ in tensor.contents.ListFields()]
    if field not in (*filled, "") and filled:
        raise Refusal(400, f"the tensor {tensor.name[:60]!r} is of {tensor.datatype} and has {filled[0]}; use {field}")
    if not field:
        # What the datatype is worth, the worker says; FP16 and BF16 have no typed contents.
        if filled:
            raise Refusal(400, f"{tensor.datatype[:20]!r} has no typed contents; send raw_input_contents")
        return b""
    values = getattr(tensor.contents, field)
    if field == "bytes_contents":
        texts = bytearray()
        for start in range(0, len(values), _TEXTS):
            if stop():
                raise Stopped
            for value in values[start : start + _TEXTS]:
                texts += _LENGTH.pack(len(value))
                texts += value
        return texts
    try:
        return _little(array(code, values)).tobytes()
    except OverflowError:
        raise Refusal(400, f"the tensor {tensor.name[:60]!r} holds what is no {tensor.datatype}") from None


def response_of(body: bytes, length: int, stop: Stop, *, raw: bool) -> Any:
    """The ModelInferResponse for a REST answer whose header has this length; its data `raw` or typed.

    Raises Stopped where `stop` says so.
    """
    header = msgspec.json.decode(body[:length])
    response = _Response(
        model_name=header["model_name"], model_version=header["model_version"], id=header.get("id", "")
    )
    place = length
    for described in header["outputs"]:
        end = place + described["parameters"]["binary_data_size"]
        tensor = response.outputs.add(name=described["name"], datatype=described["datatype"], shape=described["shape"])
        if raw:
            response.raw_output_contents.append(body[place:end])
        else:
            _fill(tensor, body[place:end], stop)
        place = end
    return response


def _fill(tensor: Any, data: bytes, stop: Stop) -> None:
    """Raw contents as typed ones."""
    field, code = _CONTENTS[tensor.datatype]
    contents = getattr(tensor.contents, field)
    if field != "bytes_contents":
        contents.extend(_little(array(code, data)))
        return
    place = 0
    while place < len(data):
        if len(contents) % _TEXTS == 0 and stop():
            raise Stopped
        end = place + 4 + _LENGTH.unpack_from(data, place)[0]
        contents.append(data[place + 4 : end])
        place = end


def _little(values: array[Any]) -> array[Any]:
    """From this machine's order of bytes to the protocol's, or back."""
    if sys.byteorder == "big":
        values.byteswap()
    return values
