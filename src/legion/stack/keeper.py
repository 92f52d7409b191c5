"""One child of `legion up` and everything it starts, ended together, however `legion up` ends.

    keeper.py LIFELINE COMMAND…

Runs the command, hands SIGTERM on to it and ends with its exit code. LIFELINE is the file descriptor of a pipe that
nobody writes to and whose other end only the parent holds: when that closes, all of the command's descendants are
killed. MLflow's server has children of its own (uvicorn's workers, runners of jobs in sessions of their own), and none
of them would end with it. On Linux an orphan comes back to this process, so none is missed; elsewhere the
process group is what there is. Started by path, with nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


def main(argv: list[str]) -> int:
    """`argv` is LIFELINE COMMAND…; the command's exit code, 128 + n where signal n ended it."""
    lifeline, command = int(argv[0]), argv[1:]
    os.set_inheritable(lifeline, False)
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    handled = (signal.SIGTERM, signal.SIGCHLD)
    child = 0

    def pass_on(signum: int, _frame: object) -> None:
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signum)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, pass_on)
    child = os.posix_spawnp(command[0], command, os.environ, setsigdef=(*handled, signal.SIGINT))
    while True:
        ready, _, _ = select.select((lifeline, woken), (), ())
        if lifeline in ready:
            end_descendants(os.getpid())
            # Elsewhere the group is all that can be named, and this process is in it.
            os.killpg(0, signal.SIGKILL)
        os.read(woken, 4096)
        ended = _reap(child)
        if ended is not None:
            end_descendants(os.getpid())
            return ended


def _reap(child: int) -> int | None:
    """Collect whoever has ended; the exit code of `child` if it was among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
    return code if code is None or code >= 0 else 128 - code


def end_descendants(pid: int) -> None:
    """Kill every descendant of this process, again and again until none is left: one may be starting another."""
    end = time.monotonic() + 5
    while (found := descendants(pid)) and time.monotonic() < end:
        for one in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)
        _reap(0)
        time.sleep(0.01)


def descendants(pid: int) -> list[int]:
    """The descendants of a process that have not ended, by the kernel's own table; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    ended = set()
    for entry in Path("/proc").iterdir() if _LINUX else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # pid (name, which may hold anything) state parent …
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                children.setdefault(int(parent), []).append(int(entry.name))
                if state in "ZX":
                    ended.add(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return [one for one in found if one not in ended]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
