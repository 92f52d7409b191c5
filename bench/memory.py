"""Memory of a process and its descendants, from the kernel's tables (Linux only; elsewhere None)."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PROC = Path("/proc")
MB = 1e6
_INTERVAL = 0.02  # seconds


def family(pid: int) -> list[int]:
    """The process and its living descendants."""
    found = [pid]
    for parent in found:
        for task in (PROC / str(parent) / "task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue  # ended meanwhile
    return found


def held_mb(pid: int) -> float | None:
    """Proportional set size of the family now, MB: pages that are shared count once."""
    total = 0
    for member in family(pid):
        kilobytes = _field(PROC / str(member) / "smaps_rollup", "Pss:")
        if kilobytes is None:
            return None
        total += kilobytes
    return total * 1024 / MB


def _field(path: Path, name: str) -> int | None:
    """A line of one of the kernel's tables, kB; None where it is not there."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)


class Peak:
    """Watches a family while the block runs; `mb` is the sum of each member's own peak resident set."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peaks: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def mb(self) -> float | None:
        """None where the kernel does not say."""
        return sum(self._peaks.values()) * 1024 / MB if self._peaks else None

    def _watch(self) -> None:
        # VmHWM only grows, so what is read last is the peak but for the last moment.
        while not self._ended.wait(_INTERVAL):
            for member in family(self._pid):
                kilobytes = _field(PROC / str(member) / "status", "VmHWM:")
                if kilobytes is not None:
                    self._peaks[member] = max(kilobytes, self._peaks.get(member, 0))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
