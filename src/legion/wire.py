"""The frames between a parent and a worker, on one Unix socket: four bytes of length, then msgpack.

    parent → worker   Plan, once; then Work, whenever the worker is free
    worker → parent   Report, once; then Answers, as they are ready

Calls are numbered in the order they are sent and answered in that order; the answers to one Work may come in several
frames, each of which says which call its first reply is for. An answer that is streamed has a number of its own, and

    worker → parent   Piece
    parent → worker   Allow

come in between, and for a call that nobody wants any more

    parent → worker   Drop

These are maps and so told from Answers and Work by their first byte. The parent believes nothing: the
types below hold what a frame may contain, and a worker that sends anything else is replaced. This module is all that
the two sides share; it holds no I/O.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Dict, List, Optional, Tuple, Type, TypeVar, Union

import msgspec

from legion.signature import Signature

HEADER = struct.Struct(">I")
MAX_FRAME = 2**32 - 1
# Bytes of one answer, and of one frame from a worker: an answer or several smaller ones, and their heads.
LARGEST_ANSWER = 256 * 1024 * 1024
LARGEST_ANSWERS = LARGEST_ANSWER + 1024 * 1024
LARGEST_REPORT = 64 * 1024 * 1024

# What a body speaks. The worker has one codec a protocol.
MLFLOW = 0
LEGION = 1
COLUMNS = 2
OPEN_INFERENCE = 3

# So many pieces of an answer may be sent before any is allowed, and so many answers come in pieces at once.
PIECES_AHEAD = 16
STREAMS_AT_ONCE = 64

# The last of an answer's server-sent events.
LAST_EVENT = b"data: [DONE]\n\n"

# Where a report's `openapi` has the JSON Schemas of one object, as it is read and as it is written.
INPUT_SCHEMA = "x-legion-input"
OUTPUT_SCHEMA = "x-legion-output"


# What decoding raises for bytes that are not what they should be.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class BadFrame(Exception):
    """A worker sent what no worker may send; it is to be replaced."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """All a worker needs to know about its model; parsed by the parent, trusted by the worker.

    `interface` is `pyfunc` (an MLflow model at `folder`) or `gppi` (the module `entrypoint` in `workdir`,
    relative to `folder`). `flavors` is the MLmodel's section of that name. `golden` and `linear` are the paths of
    legion.golden.json and legion.linear.json, from `folder` or absolute, or None. With `reference` the worker takes no
    shortcut and merges nothing: the answers are the reference path's own. A Java model has the interface `gjpi`, its
    JAR as `entrypoint`, and `jvm_options`. `served_as` is the name that callers know it by, where that is another.
    """

    name: str
    version: str
    folder: str
    interface: str
    workdir: str = "."
    entrypoint: str = "entrypoint"
    model_location: str = "."
    signature: Signature = Signature()
    flavors: Dict[str, Any] = {}
    golden: Optional[str] = None
    reference: bool = False
    linear: Optional[str] = None
    jvm_options: Tuple[str, ...] = ()
    served_as: Optional[str] = None


class Linear(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The numbers of a linear model, as legion.linear.json holds them.

    `coefficients` are of shape (columns,) or (targets, columns) and of type `dtype`; `intercept` is one number or one
    a target, of type `intercept_dtype` (None: Python's own number). A classifier has `classes`, of numpy's type
    `classes_dtype`. `scaling` is done to the columns before, in its order: `subtract`, `divide`, `multiply` or `add`,
    and one double a column. `estimator` is `sha256:` and the hex of the file that they were read from.
    """

    format: int
    estimator: str
    dtype: str
    coefficients: List[Any]
    intercept: Any
    intercept_dtype: Optional[str] = None
    classes: Optional[List[Any]] = None
    classes_dtype: Optional[str] = None
    scaling: Tuple[Tuple[str, List[float]], ...] = ()


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker says when it is ready, or why it is not.

    `error` holds the sentence; `refused` is set where the model could run and may not. `linear` is reported by the
    reference path only. `openapi` is what the model says of itself: a document, or JSON Schemas of its objects under
    INPUT_SCHEMA and OUTPUT_SCHEMA, or both in one. A model that `streams` can answer in pieces.
    """

    error: Optional[str] = None
    refused: bool = False
    signature: Signature = Signature()
    mode: str = "matrix"
    path: str = "reference"
    merges: bool = False
    notes: Tuple[str, ...] = ()
    openapi: Optional[Dict[str, Any]] = None
    mlflow_version: Optional[str] = None
    python_version: str = ""
    golden_rows: int = 0
    linear: Optional[Linear] = None
    streams: bool = False


class Call(msgspec.Struct, array_like=True, gc=False):
    """One request's body. `content_type` is None for plain JSON.

    After `deadline`, in seconds of the system's monotonic clock, nobody wants the answer; 0 stands for no deadline.
    """

    protocol: int
    body: bytes
    content_type: Optional[str] = None
    deadline: float = 0.0


class Work(msgspec.Struct, array_like=True, gc=False):
    """Calls to answer; `first` is the number of the first of them."""

    first: int
    calls: List[Call]


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Status = Annotated[int, msgspec.Meta(ge=200, le=599)]
# Printable ASCII: what may be the value of a header.
HeaderText = Annotated[str, msgspec.Meta(pattern=r"\A[\x20-\x7e]*\Z", max_length=256)]


class Reply(msgspec.Struct, array_like=True, gc=False):
    """One response's body. The times are those of the calls that were predicted together, in microseconds; `rows`
    counts this call's.

    With a `stream` this is not the answer, which follows in Pieces of that number. `late` says that the call's deadline
    had passed before its turn came, so it was not executed.
    """

    status: Status
    body: bytes
    content_type: Optional[HeaderText] = None
    rows: Count = 0
    decode_us: Count = 0
    predict_us: Count = 0
    encode_us: Count = 0
    stream: Count = 0
    late: bool = False


class Answers(msgspec.Struct, array_like=True, gc=False):
    """Replies to the calls from number `first` on."""

    first: Count
    replies: List[Reply]


class Piece(msgspec.Struct, gc=False, omit_defaults=True):
    """A part of the answer of this number. The first one has the status, and how long it took in microseconds.

    After the `last` one, which every such answer has, the number means nothing.
    """

    stream: Count
    body: bytes
    last: bool = False
    status: Status = 200
    content_type: Optional[HeaderText] = None
    predict_us: Count = 0


class Allow(msgspec.Struct, gc=False, tag=True):
    """So many more pieces of the answer of this number may be sent; none: nobody listens any more."""

    stream: int
    pieces: int


class Drop(msgspec.Struct, gc=False, tag=True):
    """Nobody waits for the answer to the call of this number: it is not executed, unless it has begun."""

    call: int


Notice = Union[Allow, Drop]
Replies = List[Reply]

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


def frame(message: Any) -> bytes:
    """A message as length and body. Raises ValueError over 4 GiB."""
    body = _encode(message)
    if len(body) > MAX_FRAME:
        raise ValueError("a frame holds at most 4 GiB")
    return HEADER.pack(len(body)) + body


def is_map(body: Union[bytes, bytearray]) -> bool:
    """Whether a frame's body is a Piece, an Allow or a Drop."""
    return body[:1] != b"" and body[0] & 0xF0 == 0x80


def decoder(kind: Type[T]) -> msgspec.msgpack.Decoder[T]:
    """A typed decoder for one kind of frame body, built once by each side."""
    return msgspec.msgpack.Decoder(kind)
