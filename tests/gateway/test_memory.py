"""However much is sent at once, the gateway's resident size grows by no more than `--memory`."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests
from tritonclient.grpc import service_pb2, service_pb2_grpc

from conftest import Server, wait_until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
MEMORY = 96
# Bytes of a body; the limit is one MiB more.
BODY = 7 * MIB
CALLERS = 40
# What connections, their heads and the allocator take beside what is counted.
SLACK = 24

SLOW = """
    import time

    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        time.sleep(0.05)
        return input_matrix[:, :1]
"""


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> Server:
    folder = gppi_folder(SLOW)
    options = ("--env", "local", "--max-body", "8", "--memory", f"{MEMORY}MiB", "--grpc-port", "0")
    return start_server(f"slow={folder}", *options)


def plain(server: Server) -> tuple[int, str | None]:
    """A body that comes in many pieces; white space is read fast."""
    return post(server, b'{"data": [[1.5]]}' + b" " * BODY)


def compressed(server: Server) -> tuple[int, str | None]:
    """A small body that becomes a large one."""
    return post(server, gzip.compress(b'{"data": [[1.5]]}' + b" " * BODY), **{"content-encoding": "gzip"})


def post(server: Server, body: bytes, **headers: str) -> tuple[int, str | None]:
    answer = requests.post(
        f"{server.url}/api/model/invoke", body, headers={"content-type": "application/json", **headers}, timeout=120
    )
    return answer.status_code, answer.headers.get("retry-after")


def rpc(server: Server) -> tuple[int, str | None]:
    """A message with one row of very many columns."""
    found = re.search(r"over gRPC at (\S+)", server.log.read_text())
    assert found is not None
    request = service_pb2.ModelInferRequest(model_name="slow", raw_input_contents=[bytes(BODY)])
    request.inputs.add(name="x", shape=[1, BODY // 8], datatype="FP64")
    with grpc.insecure_channel(found[1]) as channel:
        try:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=120)
        except grpc.RpcError as error:
            status = 503 if error.code() == grpc.StatusCode.UNAVAILABLE else 500
            return status, dict(error.trailing_metadata()).get("retry-after")
    return 200, None


def memory(server: Server, field: str) -> float:
    """In MiB, as the kernel has it."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def held(server: Server) -> float:
    text = requests.get(f"{server.url}/metrics", timeout=30).text
    found = re.search(r"^legion_held_bytes (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(
    ("ask", "most"),
    # Messages over gRPC that are arriving come on top, up to as much again.
    [(plain, MEMORY), (compressed, MEMORY), (rpc, 2 * MEMORY)],
    ids=["plain", "compressed", "gRPC"],
)
def test_many_large_bodies_at_once(server: Server, ask: Callable[[Server], tuple[int, str | None]], most: int) -> None:
    assert ask(server)[0] == 200
    before = memory(server, "VmRSS")
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    with ThreadPoolExecutor(CALLERS) as callers:
        told = list(callers.map(lambda _: ask(server), range(CALLERS)))
    grown = memory(server, "VmHWM") - before
    print("GROWN", grown, sorted(told))
    assert grown <= most + SLACK
    statuses = [status for status, _ in told]
    assert set(statuses) <= {200, 503}
    # How many fit at once depends on when they come; others may be refused until those are answered.
    assert statuses.count(200) >= 1
    assert all(retry_after == "1" for status, retry_after in told if status == 503)
    wait_until(lambda: held(server) == 0)
    assert ask(server)[0] == 200
