"""Run an MLflow Project: a folder or a git repository, an entry point, typed parameters, an environment.

The work is done in a process of its own (launch.py): importing mlflow costs seconds that this one need not
pay, and an interrupt ends the project with everything it started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

import msgspec

from legion import errors
from legion.errors import TrainingError
from legion.registry.client import require_mlflow
from legion.toolchain.job import Job, Outcome, TrainedRun

# How long a cancelled run has to say so to the tracking server.
_GRACE = 15.0


def run_project(job: Job, *, output_to_stderr: bool = False) -> TrainedRun:
    """Run the job. Its output streams to the terminal, all of it to standard error with `output_to_stderr`.


    The tracking server is the one MLFLOW_TRACKING_URI names, else MLflow's own local default. An interrupt
    (KeyboardInterrupt) cancels the run and ends its processes before it is raised on.
    Raises UsageError, MissingExtraError, EnvironmentRefused, EnvironmentBuildError, TrainingError, RegistryError.
    """
    require_mlflow("legion train")
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "legion.toolchain.launch", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if output_to_stderr else None,
                start_new_session=True,
            )
        try:
            ours.sendall(msgspec.json.encode(job) + b"\n")
            answer = _read_line(ours)
            process.wait()
        except BaseException:
            _cancel(process)
            raise
        finally:
            _end_group(process.pid)
    return _outcome(answer, process.returncode)


def _read_line(connection: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        block = connection.recv(65536)
        if not block:
            break
        line += block
    return bytes(line)


def _outcome(answer: bytes, code: int | None) -> TrainedRun:
    try:
        outcome = msgspec.json.decode(answer, type=Outcome)
    except msgspec.DecodeError:
        raise TrainingError(
            f"the process of the project ended early (exit code {code}); see its output above"
        ) from None
    if outcome.run is not None:
        return outcome.run
    kind = getattr(errors, outcome.kind, TrainingError)
    error = TrainingError(outcome.message)
    # Some kinds are built from more than a sentence; the kind alone decides the exit code.
    if issubclass(kind, errors.LegionError):
        error = kind.__new__(kind)
        Exception.__init__(error, outcome.message)
    raise error


def _cancel(process: subprocess.Popen[bytes]) -> None:
    """Ask the launcher to cancel the run, and give it a moment to."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(_GRACE)


def _end_group(leader: int) -> None:
    """End whatever is left of the project's processes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
