"""The process that runs a project: `python -m legion.toolchain.launch FD`.

It leads its own session, so that ending its group ends everything the project started, and it watches the
socket FD to the process that asked: when that is gone, however it ended, the run is cancelled too.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

import msgspec

from legion.errors import LegionError
from legion.toolchain.job import Job, Outcome
from legion.toolchain.training import train


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _cancel_when_closed(parent: socket.socket) -> None:
    """Interrupt the main thread once nothing more can come from the parent."""
    try:
        while parent.recv(1):
            pass
    except OSError:
        pass
    main = threading.main_thread().ident
    if main is not None:
        # Not os.kill: the main thread waits for a child and has to be the one that is woken.
        signal.pthread_kill(main, signal.SIGINT)


def _read_job(parent: socket.socket) -> Job:
    line = bytearray()
    while not line.endswith(b"\n"):
        block = parent.recv(65536)
        if not block:
            raise KeyboardInterrupt
        line += block
    return msgspec.json.decode(line, type=Job)


def _answer(parent: socket.socket) -> Outcome:
    try:
        job = _read_job(parent)
        threading.Thread(target=_cancel_when_closed, args=(parent,), daemon=True).start()
        return Outcome(run=train(job, _say))
    except LegionError as error:
        return Outcome(kind=type(error).__name__, message=str(error))
    # The border of this process: whatever a project's file or a store's plug-in raised.
    except Exception as error:
        return Outcome(
            kind="TrainingError",
            message=f"the project could not be run ({type(error).__name__}: {error}); try it with mlflow run",
        )


def main() -> None:
    """Read the job, run it, answer."""
    # The parent may have been started with interrupts ignored; cancelling depends on them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = socket.socket(fileno=int(sys.argv[1]))
    try:
        outcome = _answer(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        parent.sendall(msgspec.json.encode(outcome) + b"\n")
    except (KeyboardInterrupt, BrokenPipeError):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        sys.exit(130)


if __name__ == "__main__":
    main()
