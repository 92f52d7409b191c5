"""The first process in a container: `python3 contained.py SOCKET`. It needs nothing but Python.

It asks the socket what to run, and is given open descriptors along with the answer: the other ends are outside, so a
worker in a container speaks to its parent over the very socket that any worker has. The first descriptor is a
pipe that nobody writes to; when it ends, the process outside is gone, and so is this one, with all in the container.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

MOST_DESCRIPTORS = 4
LONGEST = 1 << 20


def _asked(path: str) -> tuple[dict[str, Any], list[int]]:
    """What to run, and the descriptors that come with it."""
    with socket.socket(socket.AF_UNIX) as outside:
        outside.connect(path)
        text, descriptors, _, _ = socket.recv_fds(outside, LONGEST, MOST_DESCRIPTORS)
        while block := outside.recv(LONGEST):
            text += block
    return json.loads(text), descriptors


def _end_with(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    # The kernel ends every process of a container whose first process has ended.
    os._exit(137)


def _end(number: int, _: object) -> None:
    os._exit(128 + number)


def _started(wish: dict[str, Any], descriptors: list[int]) -> subprocess.Popen[bytes]:
    command = [*([sys.executable] if wish["python"] else []), *wish["command"], *map(str, descriptors)]
    try:
        return subprocess.Popen(
            command,
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            cwd=wish["folder"],
            start_new_session=True,
            env={**os.environ, **wish["environment"]},
        )
    except OSError as error:
        print(f"{command[0]} cannot be run in the container ({error.strerror})", file=sys.stderr, flush=True)
        os._exit(127)


def main() -> None:
    """Run what is asked for; end with its exit code."""
    # The first process of a container is spared every signal that it does not handle.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    wish, (lifeline, *descriptors) = _asked(sys.argv[1])
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    child = _started(wish, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    while True:
        # Also the processes whose own parents have ended are this one's to collect.
        ended, status = os.wait()
        if ended == child.pid:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
