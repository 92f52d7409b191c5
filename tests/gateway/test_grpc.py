"""The Open Inference Protocol over gRPC: real sockets, Triton's own client, and calls written by hand."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from conftest import Server

grpc = pytest.importorskip("grpc", reason="grpcio is not installed: pip install 'legion-ml[grpc]'")
tritonclient = pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: tritonclient[grpc]")
import tritonclient.grpc.aio as aio  # noqa: E402
from tritonclient.grpc import service_pb2, service_pb2_grpc  # noqa: E402

from legion.gateway.open_inference import grpc_messages  # noqa: E402

pytestmark = pytest.mark.slow

# Sums two columns; `name` is given back. Some values of b make it misbehave.
PROBE = """
    import os, time

    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        out = []
        for a, b, name in input_matrix.tolist():
            if b == -1: raise ValueError(f"cannot take {a}")
            if b == -2: os._exit(3)
            if b == -3: time.sleep(3600)
            if b == -4: time.sleep(1)
            out.append([a + b, name * 2])
        return out, ["sum", "twice"]

    def get_info():
        column = lambda name, kind: {"name": name, "type": kind}
        return [column("a", "number"), column("b", "long"), column("name", "string")], [
            column("sum", "number"), column("twice", "string")
        ]
"""
NUMBERS = """
    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return input_matrix.sum(axis=1)

    def get_info():
        return [{"name": f"c{i}", "type": "number"} for i in range(4)], [{"name": "sum", "type": "number"}]
"""


def address(server: Server) -> str:
    """Where this server speaks gRPC, as it says itself."""
    found = re.search(r"over gRPC at (\S+)", server.log.read_text())
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> Server:
    probe, numbers = gppi_folder(PROBE), gppi_folder(NUMBERS, name="numbers")
    options = ("--env", "local", "--max-body", "1", "--timeout", "3", "--queue", "8", "--grpc-port", "0")
    return start_server(probe, numbers, *options)


@pytest.fixture(scope="module")
def triton(server: Server) -> Iterator[Any]:
    with tritonclient.InferenceServerClient(address(server)) as client:
        yield client


@pytest.fixture(scope="module")
def stub(server: Server) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    with grpc.insecure_channel(address(server)) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def columns(
    module: Any = tritonclient,
    *,
    a: Sequence[float] = (1.5, 2.5),
    b: Sequence[int] = (1, 2),
    name: Sequence[str] = ("x", "é"),
) -> list[Any]:
    inputs = []
    for key, datatype, values in (
        ("name", "BYTES", np.array(name, dtype=object)),
        ("a", "FP64", np.array(a)),
        ("b", "INT64", np.array(b)),
    ):
        tensor = module.InferInput(key, [len(values)], datatype)
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    return inputs


def one(b: int = 1, module: Any = tritonclient) -> list[Any]:
    return columns(module, a=(1.0,), b=(b,), name=("x",))


def block(
    datatype: str = "FP64",
    field: str | None = None,
    values: Any = (1, 2, 3, 4),
    shape: Sequence[int] = (1, 4),
    **fields: Any,
) -> Any:
    """A request of one tensor of all columns, with typed contents."""
    request = service_pb2.ModelInferRequest(model_name="numbers", **fields)
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    if field is not None:
        getattr(tensor.contents, field).extend(values)
    return request


def refused(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[str, str]:
    """The status and the sentence that this call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **{"timeout": 30, **options})
    return caught.value.code().name, caught.value.details()


def test_the_messages_are_those_of_another_implementation() -> None:
    pool = service_pb2.DESCRIPTOR.pool
    for name in grpc_messages._MESSAGES:
        ours = grpc_messages.message(name).DESCRIPTOR
        theirs = pool.FindMessageTypeByName(f"inference.{name}")
        assert fields(ours) == fields(theirs), name


def fields(descriptor: Any) -> Any:
    return sorted(
        (
            field.number,
            field.name,
            field.type,
            field.is_repeated,
            field.message_type and field.message_type.full_name,
            field.containing_oneof and field.containing_oneof.name,
        )
        for field in descriptor.fields
    )


def test_health_metadata_and_index(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("probe")
    assert triton.is_model_ready("probe", "1.0.0-test")
    assert not triton.is_model_ready("probe", "7")
    assert not triton.is_model_ready("nobody")
    assert triton.get_server_metadata(as_json=True)["extensions"] == ["binary_tensor_data", "model_repository"]
    metadata = triton.get_model_metadata("probe", "1.0.0-test", as_json=True)
    assert metadata["versions"] == ["1.0.0-test"]
    assert metadata["inputs"] == [
        {"name": "a", "datatype": "FP64", "shape": ["-1"]},
        {"name": "b", "datatype": "INT64", "shape": ["-1"]},
        {"name": "name", "datatype": "BYTES", "shape": ["-1"]},
    ]
    assert [output["name"] for output in metadata["outputs"]] == ["sum", "twice"]
    index = triton.get_model_repository_index(as_json=True)["models"]
    assert sorted((model["name"], model["state"]) for model in index) == [("numbers", "READY"), ("probe", "READY")]


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_triton_s_client(triton: Any, compression: str | None) -> None:
    answer = triton.infer("probe", columns(), request_id="r-1", compression_algorithm=compression)
    assert answer.get_response().id == "r-1"
    assert (answer.get_response().model_name, answer.get_response().model_version) == ("probe", "1.0.0-test")
    assert answer.as_numpy("sum").tolist() == [2.5, 4.5]
    assert [text.decode() for text in answer.as_numpy("twice")] == ["xx", "éé"]


def test_only_what_is_asked_for_is_given(triton: Any) -> None:
    wanted = [tritonclient.InferRequestedOutput("sum")]
    answer = triton.infer("probe", columns(), outputs=wanted, model_version="1.0.0-test")
    assert [output.name for output in answer.get_response().outputs] == ["sum"]
    with pytest.raises(tritonclient.InferenceServerException, match="no output 'nothing'") as caught:
        triton.infer("probe", columns(), outputs=[tritonclient.InferRequestedOutput("nothing")])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_the_aio_client(server: Server) -> None:
    async def run() -> list[list[float]]:
        async with aio.InferenceServerClient(address(server)) as client:
            assert await client.is_server_ready()
            answers = []
            for start in range(0, 20, 5):
                many = (client.infer("probe", columns(aio, a=(n, 0.5), b=(n, 1))) for n in range(start, start + 5))
                answers += await asyncio.gather(*many)
            return [answer.as_numpy("sum").tolist() for answer in answers]

    assert asyncio.run(run()) == [[2.0 * n, 1.5] for n in range(20)]


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("FP64", "fp64_contents"),
        ("FP32", "fp32_contents"),
        ("INT64", "int64_contents"),
        ("INT8", "int_contents"),
        ("INT32", "int_contents"),
        ("UINT16", "uint_contents"),
        ("UINT64", "uint64_contents"),
    ],
)
def test_typed_contents_are_read_and_answered_in_kind(
    stub: service_pb2_grpc.GRPCInferenceServiceStub, datatype: str, field: str
) -> None:
    answer = stub.ModelInfer(block(datatype, field, range(8), (2, 4), id="t"), timeout=30)
    assert not answer.raw_output_contents
    assert (answer.id, answer.outputs[0].name, list(answer.outputs[0].shape)) == ("t", "sum", [2])
    assert list(answer.outputs[0].contents.fp64_contents) == [6.0, 22.0]


def test_texts_in_typed_contents(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    request = service_pb2.ModelInferRequest(model_name="probe")
    request.inputs.add(name="name", datatype="BYTES", shape=[2]).contents.bytes_contents.extend([b"", "é".encode()])
    request.inputs.add(name="a", datatype="FP64", shape=[2]).contents.fp64_contents.extend([1, 2])
    request.inputs.add(name="b", datatype="INT64", shape=[2]).contents.int64_contents.extend([3, 4])
    outputs = {output.name: output.contents for output in stub.ModelInfer(request, timeout=30).outputs}
    assert list(outputs["sum"].fp64_contents) == [4.0, 6.0]
    assert list(outputs["twice"].bytes_contents) == [b"", "éé".encode()]


@pytest.mark.parametrize("datatype", [np.float64, np.float32, np.float16, np.int8, np.uint32])
def test_raw_contents_of_every_width(stub: service_pb2_grpc.GRPCInferenceServiceStub, datatype: Any) -> None:
    from tritonclient.utils import np_to_triton_dtype

    request = block(np_to_triton_dtype(datatype), shape=(3, 4))
    request.raw_input_contents.append(np.arange(12, dtype=datatype).tobytes())
    answer = stub.ModelInfer(request, timeout=30)
    assert np.frombuffer(answer.raw_output_contents[0]).tolist() == [6.0, 22.0, 38.0]
    assert not answer.outputs[0].HasField("contents")


def test_not_a_number_comes_through(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    answer = stub.ModelInfer(block(field="fp64_contents", values=(1, float("nan"), 2, 3)), timeout=30)
    assert np.isnan(list(answer.outputs[0].contents.fp64_contents)).all()


def test_a_large_request_is_read_beside_the_loop(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    rows = np.arange(4 * 20_000, dtype=np.float64).reshape(-1, 4)
    typed = stub.ModelInfer(block(field="fp64_contents", values=rows.ravel(), shape=rows.shape), timeout=30)
    assert list(typed.outputs[0].contents.fp64_contents) == rows.sum(axis=1).tolist()


def wanted(*names: str) -> list[Any]:
    return [service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in names]


def extra(request: Any, field: str, values: Any) -> Any:
    getattr(request, field).extend(values)
    return request


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (service_pb2.ModelInferRequest(model_name="numbers"), "at least one tensor"),
        (block(), "bytes"),
        (block(field="fp64_contents", shape=(2, 4)), "says"),
        (block(field="fp64_contents", shape=(1, -4)), "shape"),
        (block(field="fp64_contents", shape=(2**62, 2**62)), "says"),
        (block(field="fp64_contents", values=(1, 2, 3), shape=(1, 3)), "4 columns"),
        (block(field="int_contents"), "use fp64_contents"),
        (block("INT8", "int_contents", (1, 2, 3, 300)), "no INT8"),
        (block("FP16", "fp32_contents"), "raw_input_contents"),
        (block("FP128", "fp64_contents"), "raw_input_contents"),
        (block("FP128"), "unknown datatype"),
        (block("BYTES", "bytes_contents", [b"1"] * 4), "takes FP64"),
        (extra(block(field="fp64_contents"), "raw_input_contents", [bytes(32)]), "both"),
        (extra(block(), "raw_input_contents", [bytes(32)] * 2), "1 inputs and 2 raw"),
        (extra(block(), "raw_input_contents", [bytes(31)]), "31 bytes"),
        (
            extra(block(field="fp64_contents"), "outputs", wanted("sum", "sum")),
            "asked for twice",
        ),
        (extra(block(field="fp64_contents"), "outputs", wanted("é" * 60_000)), "no output"),
    ],
)
def test_what_does_not_fit_is_an_invalid_argument(
    stub: service_pb2_grpc.GRPCInferenceServiceStub, request_: Any, said: str
) -> None:
    code, sentence = refused(stub.ModelInfer, request_)
    assert (code, said in sentence) == ("INVALID_ARGUMENT", True), sentence
    assert list(stub.ModelInfer(block(field="fp64_contents")).outputs[0].contents.fp64_contents) == [10.0]


def test_what_is_not_served_is_not_found(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    for name, version in (("nobody", ""), ("numbers", "9"), ("no/body", ""), ("numbers", "../x"), ("", "")):
        asked = {"model_name": name, "model_version": version}
        assert refused(stub.ModelInfer, service_pb2.ModelInferRequest(**asked))[0] == "NOT_FOUND"
        asked = service_pb2.ModelMetadataRequest(name=name, version=version)
        assert refused(stub.ModelMetadata, asked)[0] == "NOT_FOUND"
    assert refused(stub.ModelStatistics, service_pb2.ModelStatisticsRequest())[0] == "UNIMPLEMENTED"


def test_bytes_that_are_no_message(server: Server) -> None:
    with grpc.insecure_channel(address(server)) as channel:
        for method in ("ModelInfer", "ServerLive", "RepositoryIndex"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            for data in (b"\xff\xff\xff", b"\x1f\x8bnothing", b"\x78\x9c", b"\x0a\xff\xff\xff\xff\x0f"):
                assert refused(call, data)[0] == "INVALID_ARGUMENT"


def test_messages_are_bounded_also_in_what_they_inflate_to(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    rows = np.zeros((40_000, 4))
    request = extra(block(shape=rows.shape), "raw_input_contents", [rows.tobytes()])
    assert refused(stub.ModelInfer, request)[0] == "RESOURCE_EXHAUSTED"
    code, sentence = refused(stub.ModelInfer, request, compression=grpc.Compression.Gzip)
    assert (code, "inflated" in sentence) == ("RESOURCE_EXHAUSTED", True)
    assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=30).live


def test_a_model_that_raises_ends_or_hangs(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    def made(b: int) -> Any:
        request = service_pb2.ModelInferRequest(model_name="probe")
        request.inputs.add(name="a", datatype="FP64", shape=[1]).contents.fp64_contents.append(1)
        request.inputs.add(name="b", datatype="INT64", shape=[1]).contents.int64_contents.append(b)
        request.inputs.add(name="name", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"x")
        return request

    code, sentence = refused(stub.ModelInfer, made(-1))
    assert (code, "cannot take 1.0" in sentence) == ("INVALID_ARGUMENT", True)
    assert refused(stub.ModelInfer, made(-2))[0] == "UNAVAILABLE"
    assert refused(stub.ModelInfer, made(-3))[0] == "DEADLINE_EXCEEDED"
    _, call = stub.ModelInfer.with_call(made(1), timeout=30)
    said = dict(call.trailing_metadata())
    assert (said["model-name"], said["model-version"]) == ("probe", "1.0.0-test")
    assert said["server-timing"].startswith("queue;dur=")


def test_a_full_queue_is_refused_and_a_caller_who_left_is_counted(server: Server, triton: Any) -> None:
    def infer(_: int) -> str:
        try:
            triton.infer("probe", one(-4), client_timeout=2.5)
        except tritonclient.InferenceServerException as error:
            return str(error.status())
        return "OK"

    with ThreadPoolExecutor(30) as callers:
        answers = list(callers.map(infer, range(30)))
    assert "OK" in answers
    assert "StatusCode.RESOURCE_EXHAUSTED" in answers
    assert "StatusCode.DEADLINE_EXCEEDED" in answers
    assert set(answers) == {"OK", "StatusCode.RESOURCE_EXHAUSTED", "StatusCode.DEADLINE_EXCEEDED"}
    end = time.monotonic() + 10
    while 'status="499"' not in (text := requests.get(server.url + "/metrics", timeout=10).text):
        assert time.monotonic() < end, text
        time.sleep(0.1)
    assert 'status="429"' in text


def test_the_request_s_id_comes_back(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    _, call = stub.ModelInfer.with_call(
        block(field="fp64_contents"), metadata=(("x-request-id", "mine-7"), ("accept-encoding", "br")), timeout=30
    )
    assert dict(call.trailing_metadata())["x-request-id"] == "mine-7"


def test_what_was_taken_in_is_answered_before_the_end(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(PROBE), "--env", "local", "--grpc-port", "0")
    with tritonclient.InferenceServerClient(address(server)) as client:
        answers = []
        caller = threading.Thread(target=lambda: answers.append(client.infer("probe", one(-4)).as_numpy("sum")))
        caller.start()
        time.sleep(0.4)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with pytest.raises(tritonclient.InferenceServerException):
            client.infer("probe", one(1))
        caller.join()
    assert [answer.tolist() for answer in answers] == [[-3.0]]
    assert server.process.wait(40) == 0


def test_an_address_that_is_taken(
    server: Server, gppi_folder: Callable[..., Path], environment: dict[str, str]
) -> None:
    port = address(server).rpartition(":")[2]
    ended = command(gppi_folder(PROBE), "--env", "local", "--port", "0", "--grpc-port", port, env=environment)
    assert ended.returncode == 3
    assert "choose another --grpc-port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_extra_one_sentence(
    gppi_folder: Callable[..., Path], environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['grpc'] = None\n")
    ended = command(
        gppi_folder(PROBE), "--port", "0", "--grpc-port", "0", env={**environment, "PYTHONPATH": str(tmp_path)}
    )
    assert ended.returncode == 2
    assert "pip install 'legion-ml[grpc]'" in ended.stderr
    assert ended.stderr.count("\n") == 1


def command(*args: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "legion.cli.main", "serve", *map(str, args)]
    return subprocess.run(line, capture_output=True, text=True, env=env, timeout=60, check=False)
