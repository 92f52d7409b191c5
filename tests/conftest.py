"""What the tests share: a home of their own, the real command line, and servers that end with the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

pytest_plugins = ["real_parts"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As it is for what a shell runs in the background, and the commands under test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

MANIFEST = """\
binaries:
  type: python
  dependencies: conda
  conda_path: conda.yaml
model:
  name: {name}
  version: 1.0.0-test
  workDir: .
  entrypoint: entrypoint
legionVersion: '1.0'
toolchain:
  name: hand
  version: 1.0.0
"""


def legion(*args: str | Path, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the real command line to its end."""
    command = [sys.executable, "-m", "legion.cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, **options)


def command_of(pid: str) -> bytes:
    """The command line of a process; empty where it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Until it is true; fails where that does not come about in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


class Server:
    """A `legion serve` process; `url` is where it listens."""

    def __init__(self, process: subprocess.Popen[str], log: Path, port: int) -> None:
        self.process = process
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self.port = port

    def wait(self, seconds: float = 240) -> Server:
        """Until every model is warm."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"legion serve ended with {self.process.returncode}:\n{self.log.read_text()}")
            if "ready after" in self.log.read_text():
                return self
            time.sleep(0.02)
        raise AssertionError(f"not ready within {seconds} s:\n{self.log.read_text()}")

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        """POST JSON, or bytes as they are."""
        headers = {"content-type": "application/json", **options.pop("headers", {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(self.url + path, data=data, headers=headers, timeout=options.pop("timeout", 60), **options)

    def workers(self) -> list[int]:
        """The process ids of the workers, from the kernel's own tables."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"worker/__main__" in command_of(pid)]

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder that starts empty."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def environment(home: Path) -> dict[str, str]:
    """The environment of a new user."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LEGION_", "MLFLOW_"))}
    return {**kept, "HOME": str(home), "LEGION_CACHE": str(home / "cache")}


@pytest.fixture(scope="session")
def start_server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Callable[..., Server]]:
    """Start `legion serve` with these arguments, `under` another command; whatever still runs at the end is ended."""
    started: list[Server] = []

    def start(*args: str | Path, wait: bool = True, under: Sequence[str] = ()) -> Server:
        port = free_port()
        log = tmp_path_factory.mktemp("serve") / "log.txt"
        command = [*under, sys.executable, "-m", "legion.cli.main", "serve", *map(str, args), "--port", str(port)]
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, text=True)
        server = Server(process, log, port)
        started.append(server)
        return server.wait() if wait else server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def gppi_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a GPPI model folder: an entrypoint's source, and golden cases where there are any."""

    def write(source: str, *, name: str = "probe", golden: list[dict[str, Any]] | None = None) -> Path:
        folder = tmp_path_factory.mktemp(name)
        (folder / "legion.model.yaml").write_text(MANIFEST.format(name=name))
        (folder / "conda.yaml").write_text("dependencies:\n- pip:\n  - numpy\n")
        (folder / "entrypoint.py").write_text(textwrap.dedent(source))
        if golden is not None:
            (folder / "legion.golden.json").write_text(
                json.dumps({"format": 1, "deterministic": True, "cases": golden})
            )
        return folder

    return write
