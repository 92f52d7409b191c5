"""How much memory this process may use, on machines and in containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from legion.gateway.machine_memory import machine_memory

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
SMALL = 300_000_000


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        ("0::/\n", {"memory.max": f"{SMALL}\n"}),
        ("0::/a/b\n", {"memory.max": "max\n", "a/memory.max": f"{SMALL}\n", "a/b/memory.max": "max\n"}),
        # The path is the one outside of the container.
        ("0::/../../outside\n", {"memory.max": f"{SMALL}\n"}),
        (
            "5:cpu,cpuacct:/c\n4:memory:/c\n0::/\n",
            {"memory/c/memory.limit_in_bytes": f"{SMALL}\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"},
        ),
    ],
)
def test_the_smallest_limit_of_the_control_groups(tmp_path: Path, groups: str, limits: dict[str, str]) -> None:
    write(tmp_path / "proc/self/cgroup", groups)
    for name, text in limits.items():
        write(tmp_path / "sys/fs/cgroup" / name, text)
    assert machine_memory(tmp_path) == SMALL


@pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n", ""])
def test_the_machine_s_where_there_is_no_limit(tmp_path: Path, text: str) -> None:
    assert machine_memory(tmp_path) == MACHINE
    write(tmp_path / "proc/self/cgroup", "0::/a\nno line of a control group\n")
    write(tmp_path / "sys/fs/cgroup/a/memory.max", text)
    assert machine_memory(tmp_path) == MACHINE
