"""What a gateway holds: processes, memory, open files, disk; from the kernel's tables (Linux)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import memory
import msgspec

KB = 1024


class Held(msgspec.Struct, frozen=True):
    """Of one kind of process: how many there are, resident and proportional set sizes in MB, open files."""

    processes: int
    rss: float
    pss: float
    files: int


class Holdings(msgspec.Struct, frozen=True):
    """At one moment. Disk is in bytes: the cache, the state folder, what lies in the folder for temporary files."""

    gateway: Held
    provisioner: Held
    workers: Held
    cache: int
    state: int
    temporary: int


def of(pid: int, *, cache: Path, state: Path, temporary: Path) -> Holdings:
    """Of the gateway with this process id."""
    held = {kind: _held(members) for kind, members in kinds(pid).items()}
    return Holdings(**held, cache=size(cache), state=size(state), temporary=size(temporary))


def kinds(pid: int) -> dict[str, list[int]]:
    """The process ids of the gateway, of its provisioner with what that started, and of its workers."""
    found: dict[str, list[int]] = {"gateway": [pid], "provisioner": [], "workers": []}
    for member in memory.family(pid)[1:]:
        with suppress(OSError):  # ended meanwhile
            command = (memory.PROC / str(member) / "cmdline").read_bytes()
            found["workers" if b"worker/__main__" in command else "provisioner"].append(member)
    return found


def _held(pids: list[int]) -> Held:
    return Held(
        len(pids),
        sum(_mb(pid, "Rss:") for pid in pids),
        sum(_mb(pid, "Pss:") for pid in pids),
        sum(len(list((memory.PROC / str(pid) / "fd").iterdir())) for pid in pids),
    )


def _mb(pid: int, field: str) -> float:
    lines = (memory.PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * KB / memory.MB


def peak_mb(pid: int) -> float:
    """The largest resident set size that one process has had so far, MB."""
    lines = (memory.PROC / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * KB / memory.MB


def size(folder: Path) -> int:
    """Bytes of all files below, as long as they are."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def marked(mark: str) -> dict[int, str]:
    """Every living process whose environment holds `mark`, and its command line."""
    found = {}
    for entry in memory.PROC.iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # ended meanwhile, or another user's
    return found
