"""Locks between processes: who waits, who is turned away, and what a killed holder leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from legion.disk.lock import held, opened, take, transient, tried

# Increases the number in a file again and again, each time under a lock whose file comes and goes.
COUNTER = """
import sys
from pathlib import Path
from legion.disk.lock import transient
number = Path(sys.argv[2])
for _ in range(200):
    with transient(Path(sys.argv[1])):
        number.write_text(str(int(number.read_text()) + 1))
"""

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


def test_who_does_not_wait_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with tried(path) as first, tried(path) as second:
        assert (first, second) == (True, False)
    with tried(path) as again:
        assert again


def test_any_number_share_and_nobody_else_gets_in(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with opened(path) as one, opened(path) as two, opened(path) as other:
        assert take(one, shared=True)
        assert take(two, shared=True)
        assert not take(other, wait=False)


def test_the_file_of_a_transient_lock_goes_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with transient(path), tried(path) as second:
        assert not second
    assert not path.exists()


def test_a_transient_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    """Though its file is removed while others wait for it."""
    number = tmp_path / "number"
    number.write_text("0")
    command = [sys.executable, "-c", COUNTER, str(tmp_path / "x.lock"), str(number)]
    counters = [subprocess.Popen(command) for _ in range(4)]
    assert [counter.wait(60) for counter in counters] == [0] * 4
    assert number.read_text() == "800"
