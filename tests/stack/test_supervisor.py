"""The supervisor with small children of the test's own: what dies, what will not end, what never starts."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import free_port

pytestmark = pytest.mark.slow

# A child that answers 200, and does what it is told once it has answered so many times.
CHILD = """
import http.server, os, signal, sys
port, rest = int(sys.argv[1]), sys.argv[2]
answers = 0
if rest == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if rest == "refuses":
    sys.exit(4)

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if rest == "waiting" else 200)
        self.end_headers()
        self.wfile.flush()
        if rest == "mortal":
            os._exit(7)

    def log_message(self, *_):
        print("asked", self.path, flush=True)

http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", port), Health).serve_forever()
"""
DRIVER = """
import asyncio, os, sys
from pathlib import Path
from legion.stack import supervisor
from legion.stack.plan import Child, Plan

folder, child, mlflow_port, mlflow, gateway_port, gateway = sys.argv[1:]
supervisor.RESTORING = 1

def stand_in(name, port, rest):
    return Child(name, (sys.executable, child, port, rest), dict(os.environ), f"http://127.0.0.1:{port}/health")

uri = f"sqlite:///{folder}/mlflow.db"
one, two = stand_in("mlflow", mlflow_port, mlflow), stand_in("gateway", gateway_port, gateway)
plan = Plan(one, two, "http://mlflow", "http://gateway", None, uri, uri, folder, False, Path(folder))

def say(line):
    print(line, flush=True)

stack = supervisor.Supervisor(plan, say=say, on_line=lambda name, line: say(f"{name} | {line}"))
asyncio.run(stack.run(lambda pids: say(f"ready {sorted(pids)}")))
"""


@contextlib.contextmanager
def running(folder: Path, mlflow: str, gateway: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    (folder / "child.py").write_text(CHILD)
    log = folder / "log.txt"
    arguments = (str(folder), str(folder / "child.py"), str(free_port()), mlflow, str(free_port()), gateway)
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], stdout=out, stderr=out, text=True)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def until(text: str, log: Path, process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


def left(log: Path) -> list[int]:
    """The process ids of children that still run."""
    script = str(log.with_name("child.py")).encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and script in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_what_dies_again_and_again_is_started_after_ever_longer_pauses(tmp_path: Path) -> None:
    with running(tmp_path, "stays", "mortal") as (process, log):
        for pause in (1, 2, 4):
            until(f"gateway ended with exit code 7; it is started again in {pause} s", log, process)
        assert log.read_text().count("ready ['gateway', 'mlflow']") == 1
        assert "mlflow ended" not in log.read_text()
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
        assert not left(log)


def test_a_second_signal_does_not_wait_for_what_will_not_end(tmp_path: Path) -> None:
    with running(tmp_path, "stays", "stubborn") as (process, log):
        until("ready [", log, process)
        assert len(left(log)) >= 2
        process.send_signal(signal.SIGINT)
        until("stopping mlflow and gateway", log, process)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert not left(log)


def test_what_never_starts_ends_the_other_and_nothing_is_reported_ready(tmp_path: Path) -> None:
    with running(tmp_path, "stays", "refuses") as (process, log):
        assert process.wait(60) == 1
        assert "OutsideError: gateway ended with exit code 4 before it was ready" in log.read_text()
        assert "ready ['" not in log.read_text()
        assert not left(log)


def test_a_gateway_whose_deployments_are_not_ready_is_there_all_the_same(tmp_path: Path) -> None:
    with running(tmp_path, "stays", "waiting") as (process, log):
        until("ready ['gateway', 'mlflow']", log, process)
        assert "not all of its deployments are ready yet" in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
