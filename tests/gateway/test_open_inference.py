"""The Open Inference Protocol over real sockets, as its own clients speak it."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from conftest import Server

tritonclient = pytest.importorskip(
    "tritonclient.http", reason="tritonclient is not installed: pip install tritonclient[http]"
)
import tritonclient.http.aio as aio  # noqa: E402

# Sums two columns; `name` is given back.
PROBE = """
    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        out = []
        for a, b, name in input_matrix.tolist():
            if b == -1: raise ValueError(f"cannot take {a}")
            out.append([a + b, name * 2])
        return out, ["sum", "twice"]

    def get_info():
        column = lambda name, kind: {"name": name, "type": kind}
        return [column("a", "number"), column("b", "long"), column("name", "string")], [
            column("sum", "number"), column("twice", "string")
        ]
"""
NUMBERS = """
    import numpy as np

    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return input_matrix.sum(axis=1)

    def get_info():
        return [{"name": f"c{i}", "type": "number"} for i in range(4)], [{"name": "sum", "type": "number"}]
"""


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> Server:
    probe, numbers = gppi_folder(PROBE), gppi_folder(NUMBERS, name="numbers")
    return start_server(probe, numbers, "--env", "local", "--max-body", "1")


@pytest.fixture(scope="module")
def triton(server: Server) -> Iterator[Any]:
    with tritonclient.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def columns(
    module: Any,
    *,
    binary: bool,
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
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    return inputs


def test_health_and_metadata(server: Server, triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("probe")
    assert triton.is_model_ready("probe", "1.0.0-test")
    assert not triton.is_model_ready("probe", "7")
    assert not triton.is_model_ready("nobody")
    assert triton.get_server_metadata()["name"] == "legion"
    for path in ("/v2", "/v2/"):
        answer = requests.get(server.url + path, timeout=10, allow_redirects=False)
        assert answer.json()["extensions"] == ["binary_tensor_data", "model_repository"]
    assert requests.get(server.url + "/v2/health/live", timeout=10).json() == {"live": True}
    assert requests.get(server.url + "/v2/health/ready", timeout=10).json() == {"ready": True}
    metadata = triton.get_model_metadata("probe", "1.0.0-test")
    assert metadata["versions"] == ["1.0.0-test"]
    assert metadata["inputs"] == [
        {"name": "a", "datatype": "FP64", "shape": [-1]},
        {"name": "b", "datatype": "INT64", "shape": [-1]},
        {"name": "name", "datatype": "BYTES", "shape": [-1]},
    ]
    assert [one["name"] for one in metadata["outputs"]] == ["sum", "twice"]
    index = triton.get_model_repository_index()
    assert sorted((one["name"], one["state"]) for one in index) == [("numbers", "READY"), ("probe", "READY")]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_triton_s_client_in_every_form(
    triton: Any, binary_in: bool, binary_out: bool | None, compression: str | None
) -> None:
    wanted = None
    if binary_out is not None:
        wanted = [tritonclient.InferRequestedOutput(name, binary_data=binary_out) for name in ("twice", "sum")]
    answer = triton.infer(
        "probe",
        columns(tritonclient, binary=binary_in),
        outputs=wanted,
        request_id="r-1",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert answer.get_response()["id"] == "r-1"
    assert answer.get_response()["model_name"] == "probe"
    assert answer.as_numpy("sum").tolist() == [2.5, 4.5]
    assert [text if isinstance(text, str) else text.decode() for text in answer.as_numpy("twice")] == ["xx", "éé"]


def test_only_what_is_asked_for_is_given(triton: Any) -> None:
    wanted = [tritonclient.InferRequestedOutput("sum")]
    answer = triton.infer("probe", columns(tritonclient, binary=True), outputs=wanted, model_version="1.0.0-test")
    assert [one["name"] for one in answer.get_response()["outputs"]] == ["sum"]
    with pytest.raises(tritonclient.InferenceServerException, match="no output 'nothing'"):
        triton.infer(
            "probe",
            columns(tritonclient, binary=True),
            outputs=[tritonclient.InferRequestedOutput("nothing")],
        )


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16", "INT64", "INT8", "UINT16"])
def test_one_tensor_of_all_columns(triton: Any, datatype: str) -> None:
    rows = np.arange(12).reshape(3, 4).astype(_dtype(datatype))
    for binary in (True, False):
        if datatype == "FP16" and not binary:
            continue
        tensor = tritonclient.InferInput("whatever", [3, 4], datatype)
        tensor.set_data_from_numpy(rows, binary_data=binary)
        assert triton.infer("numbers", [tensor]).as_numpy("sum").tolist() == [6.0, 22.0, 38.0]


def _dtype(datatype: str) -> Any:
    from tritonclient.utils import triton_to_np_dtype

    return triton_to_np_dtype(datatype)


def test_not_a_number_comes_through_in_binary(triton: Any) -> None:
    tensor = tritonclient.InferInput("x", [1, 4], "FP64")
    tensor.set_data_from_numpy(np.array([[1.0, np.nan, 2.0, 3.0]]))
    assert np.isnan(triton.infer("numbers", [tensor]).as_numpy("sum")).all()


def test_the_aio_client(server: Server) -> None:
    async def run() -> list[list[float]]:
        async with aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_server_ready()
            answers = await asyncio.gather(
                *(client.infer("probe", columns(aio, binary=True, a=(n + 0.0, n + 0.0))) for n in range(20))
            )
            return [answer.as_numpy("sum").tolist() for answer in answers]

    assert asyncio.run(run()) == [[n + 1.0, n + 2.0] for n in range(20)]


def infer(server: Server, body: Any, path: str = "/v2/models/numbers/infer", **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(server.url + path, data=data, headers=headers, timeout=30)


def tensor(**fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4], **fields}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no inference request"),
        (b"[]", "no inference request"),
        (b'{"inputs": []}', "at least one"),
        (b"[" * 200_000, "no inference request"),
        (tensor(shape=[2, 4]), "says 8"),
        (tensor(shape=[1, -4]), "shape"),
        (tensor(shape=[2**62, 2**62]), "says"),
        (tensor(shape=[]), "shape"),
        (tensor(datatype="FP128"), "unknown datatype"),
        (tensor(datatype="INT64", data=[1.5, 2, 3, 4]), "no INT64"),
        (tensor(datatype="BYTES", data=["1", "2", "3", "4"]), "takes FP64"),
        (tensor(data=["1", 2, 3, 4]), "no FP64"),
        (tensor(shape=[1, 3], data=[1, 2, 3]), "4 columns"),
        (tensor(name="c0", shape=[4]), "missing columns"),
        (tensor(parameters={"binary_data_size": 32}), "both"),
        (tensor(data=None, parameters={"binary_data_size": 10**12}), "both"),
        (
            {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}]},
            "not there",
        ),
        ({"inputs": tensor()["inputs"] * 2}, "twice"),
        ({**tensor(), "outputs": [{"name": "sum"}, {"name": "sum"}]}, "twice"),
        ({**tensor(), "outputs": [{"name": f"o{n}"} for n in range(10_000)]}, "no output"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_protocol_s_own_shape(server: Server, body: Any, said: str) -> None:
    answer = infer(server, body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]
    assert infer(server, tensor()).json()["outputs"][0]["data"] == [10.0]


def test_nested_data_and_null_are_read(server: Server) -> None:
    assert infer(server, tensor(shape=[2, 4], data=[[1, 2, 3, 4], [5, 6, 7, 8]])).json()["outputs"] == [
        {"name": "sum", "shape": [2], "datatype": "FP64", "data": [10.0, 26.0]}
    ]
    assert infer(server, tensor(data=[1, 2, 3, None])).json()["outputs"][0]["data"] == [None]


def test_other_faults_have_the_same_shape(server: Server) -> None:
    for answer, status in (
        (infer(server, tensor(), "/v2/models/nobody/infer"), 404),
        (infer(server, tensor(), "/v2/models/numbers/versions/9/infer"), 404),
        (infer(server, b"x" * (1024 * 1024 + 1)), 413),
        (infer(server, tensor(), **{"content-type": "text/csv"}), 415),
        (infer(server, tensor(), **{"content-encoding": "br"}), 415),
        (infer(server, b"{}{}", **{"inference-header-content-length": "99"}), 400),
        (infer(server, b"{}{}", **{"inference-header-content-length": "-1"}), 400),
        (requests.get(server.url + "/v2/nothing", timeout=10), 404),
    ):
        assert answer.status_code == status
        assert list(answer.json()) == ["error"]
    raised = infer(
        server,
        {
            "inputs": [
                {"name": "a", "shape": [1], "datatype": "FP64", "data": [1]},
                {"name": "b", "shape": [1], "datatype": "INT64", "data": [-1]},
                {"name": "name", "shape": [1], "datatype": "BYTES", "data": ["x"]},
            ]
        },
        "/v2/models/probe/infer",
    )
    assert raised.status_code == 400
    assert "cannot take 1.0" in raised.json()["error"]


def test_binary_data_by_hand(server: Server) -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "x", "shape": [1, 4], "datatype": "FP64", "parameters": {"binary_data_size": 32}},
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    data = struct.pack("<4d", 1, 2, 3, 4)
    headers = {"inference-header-content-length": str(len(head))}
    answer = infer(server, head + data, **headers)
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert json.loads(answer.content[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<d", answer.content[length:]) == (10.0,)
    assert infer(server, head + data + b"more", **headers).status_code == 400
    assert infer(server, head + data[:-1], **headers).status_code == 400
    zipped = infer(server, gzip.compress(head + data), **headers, **{"content-encoding": "gzip"})
    assert zipped.content[length:] == answer.content[length:]


def test_the_index_by_readiness(server: Server) -> None:
    def index(body: bytes | Iterator[bytes]) -> requests.Response:
        return requests.post(server.url + "/v2/repository/index", data=body, timeout=10)

    for body in (b"", b"{}", b'{"ready": true}', b'{"ready": null, "name": null}', b'{"ready": false}'):
        answer = index(body)
        assert (answer.status_code, {one["name"] for one in answer.json()}) == (200, {"numbers", "probe"})
    wrong: tuple[tuple[bytes | Iterator[bytes], int], ...] = (
        (b"[]", 400),
        (b'{"ready": 1}', 400),
        (b"[" * 60_000, 400),
        (b'{"x": ' * 10_000, 400),
        (b"\xff", 400),
        (b" " * 65_537, 413),
        (iter([b" " * 40_000] * 3), 413),
    )
    for given, status in wrong:
        answer = index(given)
        assert answer.status_code == status
        assert list(answer.json()) == ["error"]
