"""Start a container and hand it open descriptors: over a Unix socket in a folder that both can see.

The descriptors are passed as such, so nothing stands between a worker in a container and its parent: no relay, no
network, the same speed. They can be passed where both share one kernel, which a virtual machine does not.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from legion.environment.docker import SOCKET_NAME, THREADS, Launch, run_options, worker_command
from legion.errors import EnvironmentBuildError, LegionError

_GRACE = 10.0
_LOOK = 0.1


class Wish(msgspec.Struct, frozen=True):
    """What the container runs: a command, by the image's own Python if `python`, in `folder`.

    `environment` is added to the container's own; it crosses the socket, so no command line shows it.
    """

    command: tuple[str, ...]
    python: bool = False
    folder: str | None = None
    environment: dict[str, str] = {}


def start_contained(
    command_for: Callable[[Path], list[str]], wish: Wish, descriptors: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start a container and return its client, which waits for it and passes signals on.

    `command_for` gives the command for the folder with the socket. The first of `descriptors` is the lifeline: the
    container ends when the other end of that pipe closes. The numbers that the others get in the container are
    added to the wish's command. The output is this process's. Raises EnvironmentBuildError where the container ends
    before it has asked what to run.
    """
    place = Path(tempfile.mkdtemp(prefix="legion-"))
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place / SOCKET_NAME))
            listener.listen(1)
            client = subprocess.Popen(command_for(place), stdin=subprocess.DEVNULL)
            try:
                _hand_over(listener, client, wish, descriptors)
            except BaseException:
                _end(client)
                raise
            return client
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _hand_over(
    listener: socket.socket, client: subprocess.Popen[bytes], wish: Wish, descriptors: Sequence[int]
) -> None:
    """Wait for the container's call and answer it."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while not selector.select(_LOOK):
            if client.poll() is not None:
                raise EnvironmentBuildError(
                    f"the container ended with {client.returncode} before it ran anything; see its output above"
                )
    connection, _ = listener.accept()
    with connection:
        socket.send_fds(connection, [msgspec.json.encode(wish)], list(descriptors))


def _end(client: subprocess.Popen[bytes]) -> None:
    """End the container through its client, which passes the signal on; SIGKILL would leave the container behind."""
    client.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        client.wait(_GRACE)
        return
    client.kill()
    client.wait()


def main(script: str) -> None:
    """The launcher: called as an interpreter with a worker's script, its socket and its lifeline."""
    launch = msgspec.json.decode(Path(script).with_name("launch.json").read_bytes(), type=Launch)
    worker, channel, lifeline = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    try:
        options = run_options(os.environ)
        threads = {name: os.environ[name] for name in THREADS if name in os.environ}
        client = start_contained(
            lambda place: worker_command(launch, options, place),
            Wish((worker,), python=True, environment=threads),
            (lifeline, channel, lifeline),
        )
        # From here on these are the container's alone: when it ends, the parent sees it.
        os.close(channel)
        code = client.wait()
    except LegionError as error:
        print(error, file=sys.stderr, flush=True)
        code = 1
    sys.exit(code)
