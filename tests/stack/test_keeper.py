"""The keeper: whatever its command started ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import legion.stack.keeper

KEEPER = legion.stack.keeper.__file__
# A child that leaves a grandchild in a session of its own, says its number, and goes on as it is told.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
{rest}
"""


@contextmanager
def kept(rest: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """The keeper's process, our end of its lifeline, the grandchild's process id."""
    theirs, ours = os.pipe()
    command = [sys.executable, "-I", "-S", KEEPER, str(theirs), sys.executable, "-c", PARENT.format(rest=rest)]
    process = subprocess.Popen(command, pass_fds=(theirs,), stdout=subprocess.PIPE, text=True, start_new_session=True)
    os.close(theirs)
    assert process.stdout is not None
    try:
        yield process, ours, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def gone(pid: int, seconds: float = 5) -> bool:
    """Whether it ends within so many seconds; one that nobody has reaped has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="orphans come back to the keeper on Linux only")
class TestOrphans:
    def test_when_its_parent_is_gone(self) -> None:
        with kept("time.sleep(600)") as (process, lifeline, grandchild):
            os.close(lifeline)
            assert process.wait(5) == -signal.SIGKILL
            assert gone(grandchild)

    def test_when_the_command_ends(self) -> None:
        with kept("sys.exit(7)") as (process, lifeline, grandchild):
            assert process.wait(5) == 7
            assert gone(grandchild)
            os.close(lifeline)

    def test_when_the_command_is_killed(self) -> None:
        with kept("import os; os.kill(os.getpid(), 9)") as (process, lifeline, grandchild):
            assert process.wait(5) == 128 + signal.SIGKILL
            assert gone(grandchild)
            os.close(lifeline)

    def test_when_the_grandchild_lost_its_parent_long_before(self) -> None:
        # The middle process ends at once, so nothing but the keeper knows the grandchild.
        middle = (
            "other = subprocess.Popen([sys.executable, '-c', 'import subprocess; "
            'subprocess.Popen(["sleep", "601"], start_new_session=True)\']); other.wait(); time.sleep(600)'
        )
        with kept(middle) as (process, lifeline, _):
            orphans = []
            for _ in range(500):
                orphans = [
                    pid
                    for pid in legion.stack.keeper.descendants(process.pid)
                    if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00601\x00"
                ]
                if orphans:
                    break
                time.sleep(0.01)
            assert len(orphans) == 1
            os.close(lifeline)
            assert process.wait(5) == -signal.SIGKILL
            assert gone(orphans[0])


def test_sigterm_is_for_the_command() -> None:
    rest = "import signal; signal.signal(15, lambda *_: sys.exit(5)); print('set', flush=True); time.sleep(600)"
    with kept(rest) as (process, lifeline, _):
        assert process.stdout is not None
        assert process.stdout.readline() == "set\n"
        process.terminate()
        assert process.wait(5) == 5
        os.close(lifeline)
