"""From the first signal to the end of the process, seen from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Server, wait_until

# Answers the sum of a row; a model that is asked for 600 takes so many seconds.
SUM = """
    import time

    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        if input_matrix[0, 0] == 600:
            open(__file__ + ".busy", "w").close()
            time.sleep(600)
        return [[sum(row)] for row in input_matrix.tolist()]

    def get_info():
        return [{"name": "a", "type": "number"}], [{"name": "sum", "type": "number"}]
"""
READINESS = ("/ping", "/health", "/healthcheck", "/v2/health/ready", "/models/probe/ping")


def row(value: float) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a"], "data": [[value]]}}


def statuses(server: Server, paths: Sequence[str] = READINESS) -> dict[str, int]:
    return {path: requests.get(server.url + path, timeout=10).status_code for path in paths}


def test_while_it_drains_it_is_not_ready_and_still_answers(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(SUM), "--env", "local", "--drain", "5")
    kept = requests.Session()
    assert kept.post(server.url + "/invocations", json=row(1), timeout=10).status_code == 200
    assert set(statuses(server).values()) == {200}
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: statuses(server, ["/ping"]) == {"/ping": 503})
    assert set(statuses(server).values()) == {503}
    assert statuses(server, ["/v2/health/live", "/metrics"]) == {"/v2/health/live": 200, "/metrics": 200}
    # On a connection from before, whose caller is told to find another, and on new ones.
    for session in (kept, requests.Session()):
        answer = session.post(server.url + "/invocations", json=row(2), timeout=10)
        assert (answer.json(), answer.headers["connection"]) == ({"predictions": [[2.0]]}, "close")
    assert server.process.wait(40) == 0
    assert time.monotonic() - began >= 5
    assert "draining: requests are accepted for another 5 s" in server.log.read_text()


@pytest.mark.slow
def test_while_it_drains_the_server_is_not_ready_over_grpc_either(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    grpc = pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: tritonclient[grpc]")
    server = start_server(gppi_folder(SUM), "--env", "local", "--drain", "5", "--grpc-port", "0")
    address = server.log.read_text().partition("over gRPC at ")[2].split()[0]
    with grpc.InferenceServerClient(address) as client:
        assert client.is_server_ready()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not client.is_server_ready())
        assert client.is_server_live()
        assert client.is_model_ready("probe")
    assert server.process.wait(40) == 0


@pytest.mark.parametrize(
    ("first", "second", "drain"), [(signal.SIGINT, signal.SIGINT, "0"), (signal.SIGINT, signal.SIGTERM, "600")]
)
def test_a_second_signal_ends_it_at_once_and_its_workers(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path], first: Any, second: Any, drain: str
) -> None:
    folder = gppi_folder(SUM)
    server = start_server(folder, "--env", "local", "--drain", drain)
    workers = server.workers()

    def ask() -> None:
        with pytest.raises(requests.ConnectionError):
            server.post("/invocations", row(600))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: Path(f"{folder}/entrypoint.py.busy").exists())
    server.process.send_signal(first)
    if drain == "0":
        wait_until(lambda: refuses(server))
    else:
        wait_until(lambda: statuses(server, ["/ping"]) == {"/ping": 503})
    assert server.process.poll() is None
    server.process.send_signal(second)
    # As a shell tells it, 128 and the signal's number.
    assert server.process.wait(5) == -second
    asking.join()
    wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in workers))


def refuses(server: Server) -> bool:
    try:
        statuses(server, ["/ping"])
    except requests.ConnectionError:
        return True
    return False


def test_where_a_signal_by_itself_ends_nothing_the_process_ends_all_the_same() -> None:
    # As it is for the first process of a container.
    blocked = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])"
    code = f"{blocked}\nfrom legion.gateway.shutdown import end_by\nend_by(signal.SIGTERM)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 143
