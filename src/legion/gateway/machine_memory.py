"""How much memory this process may use: the limit of its control group, or what the machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Below it, control groups of version 1 say that there is no limit.
_UNLIMITED = 2**60


def machine_memory(root: Path = Path("/")) -> int:
    """Bytes. `root` is where /proc and /sys are."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """The limits of this process's control group and of those that it is in."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        number, _, rest = group.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            folder, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        own = folder / path.lstrip("/")
        # In a container the path may be the one outside; its limit is then at the root.
        for place in (own, *own.parents):
            if place.is_relative_to(folder):
                yield from _limit(place / name)


def _limit(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdigit() and int(text) < _UNLIMITED:
        yield int(text)
