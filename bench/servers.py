"""The servers that are compared: how each is started, when it is ready, that they answer alike, how it ends."""

from __future__ import annotations

import http.client
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec
from load import Target
from models import BIN, WORK, Model, environment

PEERS = Path(__file__).parent / "peers"
READY_WITHIN = 300.0  # seconds; a hundred models on two cores take a while
_POLL = 0.005  # seconds


class Server(msgspec.Struct, frozen=True):
    """A running server. `path` is where predictions are asked for."""

    name: str
    port: int
    pid: int
    path: str

    def target(self, body: Path) -> Target:
        """The load that asks this server for these predictions."""
        return Target(f"http://127.0.0.1:{self.port}{self.path}", body)


def mlflow(model: Model, port: int) -> list[str]:
    """The real `mlflow models serve`, in the environment that runs this."""
    where = ["--env-manager", "local", "--port", str(port)]
    return [str(BIN / "mlflow"), "models", "serve", "-m", str(model.folder), *where]


def handwritten(model: Model, port: int) -> list[str]:
    """FastAPI + pydantic, one process of uvicorn with uvloop and httptools."""
    return [sys.executable, str(PEERS / "handwritten.py"), str(model.folder), str(port)]


def legion(models: Sequence[str], port: int) -> list[str]:
    """`legion serve`, one worker a model; `models` are its arguments."""
    return [str(BIN / "legion"), "serve", *models, "--env", "local", "--port", str(port)]


def echo(port: int) -> list[str]:
    """The same HTTP stack with no model behind it."""
    return [sys.executable, str(PEERS / "echo.py"), str(port)]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def started(
    name: str, command: list[str], variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a process group of its own, its words in build/bench/logs; it is ended with the block.

    `variables` are set in its environment.
    """
    log = WORK / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as words:
        process = subprocess.Popen(
            command, stdout=words, stderr=words, env=environment(**variables), cwd=WORK, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the group, SIGKILL to what is left of it."""
    for number, seconds in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def running(
    name: str,
    command: list[str],
    port: int,
    path: str = "/invocations",
    ready: str = "/ping",
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Server]:
    """A server that answers GET `ready`."""
    with started(name, command, variables) as process:
        until_answered(process, name, port, "GET", ready)
        yield Server(name, port, process.pid, path)


def until_answered(
    process: subprocess.Popen[bytes], name: str, port: int, method: str, path: str, body: bytes | None = None
) -> None:
    """Ask again and again until there is a 200. Ends the run when the server ends or takes too long."""
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"{name} ended with {process.returncode} before it answered; see build/bench/logs/{name}.log")
        try:
            if ask(port, method, path, body)[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(_POLL)
    sys.exit(f"{name} did not answer within {READY_WITHIN:.0f} s; see build/bench/logs/{name}.log")


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def predictions(answer: bytes) -> list[float]:
    """The numbers in an answer of MLflow's protocol."""
    return flat(msgspec.json.decode(answer)["predictions"])


def check_alike(servers: Sequence[Server], body: Path, numbers: Callable[[bytes], list[float]] = predictions) -> None:
    """Ends the run unless all give the same predictions, within a relative error of 1e-9; `numbers` reads an answer."""
    answers = {}
    for server in servers:
        status, answer = ask(server.port, "POST", server.path, body.read_bytes())
        if status != 200:
            sys.exit(f"{server.name} answered {body.name} with {status}: {answer[:200]!r}")
        answers[server.name] = numbers(answer)
    first, *others = answers
    for name in others:
        if not alike(answers[first], answers[name]):
            sys.exit(f"{first} and {name} give different predictions for {body.name}; nothing is compared")


def flat(predictions: list[object]) -> list[float]:
    """Predictions of one number a row, whether rows are numbers, lists or objects."""
    numbers = []
    for row in predictions:
        while isinstance(row, (list, dict)):
            (row,) = row.values() if isinstance(row, dict) else row
        numbers.append(float(str(row)))
    return numbers


def alike(first: Sequence[float], second: Sequence[float]) -> bool:
    """Equal within a relative error of 1e-9."""
    return len(first) == len(second) and all(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in zip(first, second, strict=True)
    )
