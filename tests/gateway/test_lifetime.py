"""How a server begins and ends: warm before ready, drained by SIGTERM, nothing left behind by SIGKILL."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Server, legion, wait_until

SUM = """
    import time
    {start}

    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        {predict}
        return [[sum(row)] for row in input_matrix.tolist()]

    def get_info():
        return [{{"name": "a", "type": "number"}}], [{{"name": "sum", "type": "number"}}]
"""

# A match that takes years, in native code that never lets another thread run.
HOLDS_THE_INTERPRETER = "import re; re.match('(a+)+b', 'a' * 60)"


def source(start: str = "", predict: str = "pass") -> str:
    return SUM.format(start=start, predict=predict)


def row(value: float) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a"], "data": [[value]]}}


class Load(threading.Thread):
    """Calls one connection after another until told to stop; keeps every answer."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.ended = threading.Event()
        self.answers: list[tuple[float, int, bytes]] = []
        self.faults: list[Exception] = []

    def run(self) -> None:
        session = requests.Session()
        value = 0.0
        while not self.ended.is_set():
            value += 1
            try:
                answer = session.post(self.server.url + "/invocations", json=row(value), timeout=60)
                self.answers.append((value, answer.status_code, answer.content))
            except requests.ConnectionError as fault:
                self.faults.append(fault)
                return

    def check(self) -> None:
        assert self.answers
        for value, status, body in self.answers:
            assert status == 200, body
            assert json.loads(body) == {"predictions": [[value]]}


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_not_ready_before_the_model_is_warm_and_early_requests_wait(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(source(start="time.sleep(1.5)")), "--env", "local", wait=False)

    def listening() -> bool:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_until(listening)
    assert requests.get(server.url + "/ping", timeout=10).status_code == 503
    assert requests.get(server.url + "/healthcheck", timeout=10).json() == {"status": False}
    assert server.post("/invocations", row(2)).json() == {"predictions": [[2.0]]}
    assert requests.get(server.url + "/ping", timeout=10).status_code == 200


def test_the_flags_of_mlflow_models_serve_mean_the_same(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    folder = gppi_folder(source())
    server = start_server("-m", folder, "--env-manager", "local", "-h", "127.0.0.1", "-t", "30", "-w", "2")
    assert server.post("/invocations", row(2)).json() == {"predictions": [[2.0]]}
    assert len(server.workers()) == 2


def test_sigterm_drains_and_ends_with_0(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path], tmp_path: Path
) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    held = f"open({str(begun)!r}, 'w').close()\n        while not os.path.exists({str(go)!r}): time.sleep(0.02)"
    server = start_server(gppi_folder(source(start="import os", predict=held)), "--env", "local")
    answers: list[tuple[int, Any]] = []

    def call(i: int) -> None:
        answers.append((i, server.post("/invocations", row(i)).json()))

    callers = [threading.Thread(target=call, args=(i,)) for i in range(6)]
    callers[0].start()
    wait_until(begun.exists)
    for caller in callers[1:]:
        caller.start()
    queued = 'legion_queue_requests{model="probe",variant="champion",version="1.0.0-test"} 5.0'
    wait_until(lambda: queued in requests.get(server.url + "/metrics", timeout=10).text)
    workers = server.workers()
    server.process.send_signal(signal.SIGTERM)
    go.touch()
    assert server.process.wait(40) == 0
    for caller in callers:
        caller.join()
    assert sorted(answers) == [(i, {"predictions": [[float(i)]]}) for i in range(6)]
    assert all(gone(pid) for pid in workers)


@pytest.mark.parametrize("busy_with", ["time.sleep(600)", HOLDS_THE_INTERPRETER])
def test_sigkill_leaves_no_orphans_even_of_a_busy_worker(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path], tmp_path: Path, busy_with: str
) -> None:
    begun = tmp_path / "begun"
    busy_with = f"open({str(begun)!r}, 'w').close(); {busy_with}"
    spawn = "import subprocess; subprocess.Popen(['sleep', '600'])"
    server = start_server(gppi_folder(source(start=spawn, predict=busy_with)), "--env", "local")
    (worker,) = server.workers()
    child = int(Path(f"/proc/{worker}/task/{worker}/children").read_text().split()[0])
    busy = threading.Thread(target=lambda: _ignore(lambda: server.post("/invocations", row(1))), daemon=True)
    busy.start()
    wait_until(begun.exists)
    server.process.kill()
    server.process.wait()
    wait_until(lambda: gone(worker) and gone(child))


def _replaced(server: Server, before: list[int]) -> bool:
    return server.workers() not in ([], before)


def _answered(load: Load, more_than: int) -> bool:
    return len(load.answers) > more_than


def _ignore(call: Callable[[], object]) -> None:
    try:
        call()
    except requests.ConnectionError:
        return


@pytest.mark.slow
def test_killing_the_worker_again_and_again_under_load_fails_no_request(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(source()), "--env", "local")
    loads = [Load(server) for _ in range(4)]
    for load in loads:
        load.start()
    for _ in range(5):
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_until(partial(_replaced, server, before))
        wait_until(partial(_answered, loads[0], len(loads[0].answers) + 20))
    for load in loads:
        load.ended.set()
        load.join()
        assert not load.faults
        load.check()


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.slow
def test_a_thousand_silent_connections_take_nothing_from_workers_and_are_let_go(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(source()), "--env", "local", under=(sys.executable, "-c", LIMITED))
    session = requests.Session()

    def connections() -> int:
        text = session.get(server.url + "/metrics", timeout=10).text
        found = re.search(r"^legion_connections (\S+)", text, re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    assert session.post(server.url + "/invocations", json=row(1), timeout=30).status_code == 200
    silent = []
    for _ in range(1000):
        silent.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        silent[-1].sendall(b"POST /invocations HTTP/1.1\r\nX: ")
    # The first of them have made way for the last.
    assert silent[0].recv(4096).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    wait_until(lambda: connections() <= 768)
    assert connections() > 600
    assert server.post("/invocations", row(3)).json() == {"predictions": [[3.0]]}
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: server.workers() and server.workers() != before)
    assert session.post(server.url + "/invocations", json=row(2), timeout=30).json() == {"predictions": [[2.0]]}
    # They trickle, which earns them nothing.
    for sock in silent:
        with contextlib.suppress(ConnectionError):
            sock.send(b"a")
    wait_until(lambda: connections() < 10, seconds=60)
    assert server.post("/invocations", row(3)).json() == {"predictions": [[3.0]]}
    for sock in silent:
        sock.close()


def test_several_replicas_share_the_work(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> None:
    server = start_server(gppi_folder(source(predict="time.sleep(0.5)")), "--env", "local", "--workers", "3")
    assert len(server.workers()) == 3
    began = time.monotonic()
    callers = [threading.Thread(target=server.post, args=("/invocations", row(i))) for i in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert time.monotonic() - began < 1.4


def test_several_models_in_one_gateway(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> None:
    one = gppi_folder(source(), name="one")
    two = gppi_folder(source(predict="input_matrix = input_matrix * 10"), name="two")
    server = start_server(one, two, f"third={one}", "--env", "local")
    assert server.post("/models/one/invocations", row(2)).json() == {"predictions": [[2.0]]}
    assert server.post("/models/two/invocations", row(2)).json() == {"predictions": [[20.0]]}
    assert server.post("/models/third/api/model/invoke", {"data": [[2]]}).json()["prediction"] == [[2.0]]
    assert server.post("/invocations", row(2)).status_code == 404
    tensor = {"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [2.0]}]}
    # As the caller knows it, not as its folder says.
    assert server.post("/v2/models/third/infer", tensor).json()["model_name"] == "third"
    document = requests.get(server.url + "/openapi.json", timeout=10).json()
    assert "/models/two/invocations" in document["paths"]
    assert "/invocations" in requests.get(server.url + "/models/two/api/model/info", timeout=10).json()["paths"]
    assert requests.get(server.url + "/models/two/docs", timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("raise KeyError('no such thing')", "raised KeyError: 'no such thing'"),
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("import os; os._exit(9)", "ended while it was loading"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_the_server_with_a_sentence(
    start_server: Callable[..., Server],
    gppi_folder: Callable[..., Path],
    environment: dict[str, str],
    start: str,
    words: str,
) -> None:
    folder = gppi_folder(source(start=start))
    command = [sys.executable, "-m", "legion.cli.main", "serve", str(folder), "--env", "local", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 3
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("legion: probe 1.0.0-test cannot be served") or "ended while" in last
    assert words in last


def test_a_model_that_hangs_while_it_is_loaded_is_refused_in_time(
    gppi_folder: Callable[..., Path], environment: dict[str, str]
) -> None:
    folder = gppi_folder(source(start="time.sleep(600)"))
    done = legion("serve", folder, "--env", "local", "--port", "0", "--start-timeout", "2", env=environment, timeout=30)
    assert done.returncode == 3
    last = done.stderr.strip().splitlines()[-1]
    assert last == "legion: probe 1.0.0-test was not ready within 2 s; see the log above, or give it longer"


def test_a_taken_port_is_named(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path], environment: dict[str, str]
) -> None:
    folder = gppi_folder(source())
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        command = [sys.executable, "-m", "legion.cli.main", "serve", str(folder), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 3
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_with_wrong_golden_answers_is_not_served(
    gppi_folder: Callable[..., Path], environment: dict[str, str]
) -> None:
    case = {"request": row(1.0), "response": {"predictions": [[2.0]]}}
    folder = gppi_folder(source(), golden=[case])
    command = [sys.executable, "-m", "legion.cli.main", "serve", str(folder), "--env", "local", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 1
    assert "does not give its golden answers" in done.stderr
