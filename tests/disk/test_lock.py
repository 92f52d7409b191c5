from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from legion.disk.lock import held

# Takes the lock, says so, starts a child that has the descriptor if asked to, and waits for the end of its input.
HOLDER = """
import subprocess, sys
from pathlib import Path
from legion.disk.lock import held
with held(Path(sys.argv[1]), lambda: print("waiting", flush=True)) as lock:
    child = None
    if sys.argv[2] == "child":
        child = subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=(lock,), stderr=subprocess.DEVNULL)
    print("held", flush=True)
    if child is None:
        sys.stdin.read()
    else:
        child.wait()
"""


def start(path: Path, *, child: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(path), "child" if child else ""]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_second_waits_says_so_and_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.lock"
    with start(path) as first:
        assert line(first) == "held"
        with start(path) as second:
            assert line(second) == "waiting"
            first.communicate()
            assert line(second) == "held"
            second.communicate()
    assert path.exists()


def test_a_killed_holder_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with start(path) as first:
        assert line(first) == "held"
        os.kill(first.pid, signal.SIGKILL)
    waits: list[str] = []
    with held(path, lambda: waits.append("waiting")):
        assert waits == []


def test_a_killed_holders_child_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with start(path, child=True) as first:
        assert line(first) == "held"
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        with start(path) as second:
            assert line(second) == "waiting"
            assert first.stdin is not None
            first.stdin.close()  # The orphan's input ends, and with it the orphan.
            assert line(second) == "held"
            second.communicate()
