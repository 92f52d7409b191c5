"""Messages of many small things: counted before they cost, read in linear time, left when nobody waits."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import pytest

from legion.gateway.http.offload import Stopped
from legion.gateway.http.refusal import Refusal
from legion.gateway.open_inference.grpc_messages import message, read
from legion.gateway.open_inference.grpc_tensors import body_of, size_of

REQUEST = message("ModelInferRequest")


def never() -> bool:
    return False


def tensors(n: int) -> Any:
    request = REQUEST(model_name="m")
    for i in range(n):
        request.inputs.add(name=f"c{i}", datatype="FP64", shape=[1]).contents.fp64_contents.append(i)
    return request


def texts(n: int) -> Any:
    request = REQUEST(model_name="m")
    request.inputs.add(name="s", datatype="BYTES", shape=[n]).contents.bytes_contents.extend([b"x"] * n)
    return request


def parameters(n: int) -> Any:
    request = REQUEST(model_name="m")
    for i in range(n):
        request.parameters[f"p{i}"].int64_param = i
    return request


def test_texts_are_written_with_their_lengths() -> None:
    body, length = body_of(texts(10_000), never)
    assert json.loads(body[:length])["inputs"][0]["parameters"] == {"binary_data_size": 50_000}
    assert body[length:] == (struct.pack("<I", 1) + b"x") * 10_000


@pytest.mark.parametrize("made", [tensors, texts, parameters])
def test_work_grows_with_the_message(made: Any) -> None:
    def seconds(request: Any) -> float:
        start = time.process_time()
        body_of(request, never)
        return time.process_time() - start

    few, many = (min(seconds(request) for _ in range(4)) for request in (made(4_000), made(16_000)))
    assert many < 9 * few


def test_many_tensors_weigh_more_than_their_bytes() -> None:
    assert size_of(tensors(1_000)) > 256_000
    assert size_of(texts(1_000)) < 10_000


@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_more_tensors_than_a_model_has_are_refused(field: str) -> None:
    request = REQUEST(model_name="m")
    for _ in range(20_000):
        getattr(request, field).add()
    with pytest.raises(Refusal, match="send all columns as one tensor"):
        body_of(request, never)


def test_more_parameters_than_anybody_sends_are_refused() -> None:
    with pytest.raises(Refusal, match="parameters"):
        body_of(parameters(20_000), never)


@pytest.mark.parametrize("made", [tensors, texts])
def test_it_stops_when_told_to(made: Any) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(Stopped):
        body_of(made(10_000), stop)
    assert asked == 3


def test_a_large_message_is_counted_before_it_is_read() -> None:
    empty_tensor = b"\x2a\x00"
    with pytest.raises(Refusal, match="more than 65536 fields"):
        read(REQUEST, empty_tensor * 100_000)
    assert len(read(REQUEST, empty_tensor * 60_000).inputs) == 60_000
    large = tensors(10_000)
    assert read(REQUEST, large.SerializeToString()) == large


@pytest.mark.parametrize(
    "data", [b"\x2a", b"\x2a\xff", b"\x2a\x05ab", b"\xff" * 20, b"\x0b", b"\x2a\x00" * 50_000 + b"\x2a\x05"]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal, match="no ModelInferRequest"):
        read(REQUEST, data)
