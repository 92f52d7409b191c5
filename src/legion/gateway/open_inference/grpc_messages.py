"""The messages of the Open Inference Protocol's gRPC service, from a description of our own.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_grpc.md; the repository's
index and the parameters of type double and uint64 as Triton has them. They stand in a pool of their own, so that a
client's classes of the same names can be in the same process.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from legion.gateway.http.refusal import Refusal

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}
# A message within another has its name behind a point. A field is its number and its type, with a star where it is
# repeated; `parameters` is a map from strings to InferParameter, and a choice has at most one of its fields set.
_MODEL = {"name": "1 string", "version": "2 string"}
_TENSOR = {"name": "1 string", "datatype": "2 string", "shape": "3 int64*"}
_FILLED = {**_TENSOR, "parameters": "4 parameters", "contents": "5 InferTensorContents"}
_MESSAGES: dict[str, dict[str, str]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": "1 bool"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": "1 bool"},
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": {"ready": "1 bool"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {**_MODEL, "extensions": "3 string*"},
    "ModelMetadataRequest": _MODEL,
    "ModelMetadataResponse": {
        "name": "1 string",
        "versions": "2 string*",
        "platform": "3 string",
        "inputs": "4 ModelMetadataResponse.TensorMetadata*",
        "outputs": "5 ModelMetadataResponse.TensorMetadata*",
    },
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "InferParameter": {
        "bool_param": "1 bool",
        "int64_param": "2 int64",
        "string_param": "3 string",
        "double_param": "4 double",
        "uint64_param": "5 uint64",
    },
    "InferTensorContents": {
        "bool_contents": "1 bool*",
        "int_contents": "2 int32*",
        "int64_contents": "3 int64*",
        "uint_contents": "4 uint32*",
        "uint64_contents": "5 uint64*",
        "fp32_contents": "6 float*",
        "fp64_contents": "7 double*",
        "bytes_contents": "8 bytes*",
    },
    "ModelInferRequest": {
        "model_name": "1 string",
        "model_version": "2 string",
        "id": "3 string",
        "parameters": "4 parameters",
        "inputs": "5 ModelInferRequest.InferInputTensor*",
        "outputs": "6 ModelInferRequest.InferRequestedOutputTensor*",
        "raw_input_contents": "7 bytes*",
    },
    "ModelInferRequest.InferInputTensor": _FILLED,
    "ModelInferRequest.InferRequestedOutputTensor": {"name": "1 string", "parameters": "2 parameters"},
    "ModelInferResponse": {
        "model_name": "1 string",
        "model_version": "2 string",
        "id": "3 string",
        "parameters": "4 parameters",
        "outputs": "5 ModelInferResponse.InferOutputTensor*",
        "raw_output_contents": "6 bytes*",
    },
    "ModelInferResponse.InferOutputTensor": _FILLED,
    "RepositoryIndexRequest": {"repository_name": "1 string", "ready": "2 bool"},
    "RepositoryIndexResponse": {"models": "1 RepositoryIndexResponse.ModelIndex*"},
    "RepositoryIndexResponse.ModelIndex": {**_MODEL, "state": "3 string", "reason": "4 string"},
}
_CHOICES = {"InferParameter": "parameter_choice"}

# An empty tensor is two bytes in a message and a hundred in memory, so large messages are counted before they are read.
_COUNTED, _MOST_FIELDS = 64 * 1024, 65536
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def _described() -> descriptor_pb2.FileDescriptorProto:
    """The description as protobuf has it."""
    file = descriptor_pb2.FileDescriptorProto(name="legion/open_inference.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in _MESSAGES.items():
        outer, _, name = path.rpartition(".")
        message = made[path] = (made[outer].nested_type if outer else file.message_type).add(name=name)
        if path in _CHOICES:
            message.oneof_decl.add(name=_CHOICES[path])
        for field, text in fields.items():
            number, _, kind = text.partition(" ")
            added = message.field.add(name=field, number=int(number), label=_Field.LABEL_OPTIONAL)
            if path in _CHOICES:
                added.oneof_index = 0
            if kind.endswith("*") or kind == "parameters":
                added.label = _Field.LABEL_REPEATED
            kind = kind.rstrip("*")
            if kind == "parameters":
                _add_map(message)
                kind = f"{path}.ParametersEntry"
            if kind in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    return file


def _add_map(message: descriptor_pb2.DescriptorProto) -> None:
    """What a map is on the wire: a repeated message of key and value."""
    entry = message.nested_type.add(name="ParametersEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    entry.field.add(
        name="value",
        number=2,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_OPTIONAL,
        type_name=f".{PACKAGE}.InferParameter",
    )


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_described())


def message(name: str) -> Any:
    """The class of the message of this name, such as `ModelInferRequest`."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def read(kind: Any, data: bytes) -> Any:
    """The message of this class that the bytes are. Raises Refusal (400)."""
    if len(data) > _COUNTED and _fields(data) > _MOST_FIELDS:
        raise Refusal(400, f"the message has more than {_MOST_FIELDS} fields; send fewer and larger tensors")
    try:
        return kind.FromString(data)
    except DecodeError:
        raise Refusal(400, f"this is no {kind.DESCRIPTOR.name}; send one") from None


def _fields(data: bytes) -> int:
    """How many fields the message has, its messages' own not counted; one above the most is enough to know."""
    count = place = 0
    try:
        while place < len(data) and count <= _MOST_FIELDS:
            key, place = _varint(data, place)
            kind = key & 7
            if kind in (_VARINT, _LENGTH):
                value, place = _varint(data, place)
                place += value if kind == _LENGTH else 0
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                place += 8 if kind == _EIGHT_BYTES else 4
            else:
                break
            count += 1
    except IndexError:
        pass  # It ends within a field, which protobuf refuses.
    return count


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while data[place] & 0x80 and shift < 63:
        value |= (data[place] & 0x7F) << shift
        shift += 7
        place += 1
    return value | data[place] << shift, place + 1
