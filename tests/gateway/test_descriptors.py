"""How file descriptors are shared out, under the limits that a process may meet."""

from __future__ import annotations

import subprocess
import sys

import pytest

from legion.gateway.descriptors import share

LIMITED = """
import resource
from legion.gateway import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(descriptors.raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(256, 1024), (1024, 1024)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int) -> None:
    code = LIMITED.format(soft=soft, hard=hard)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(hard)] * 3


@pytest.mark.parametrize("limit", [64, 1024, 20_000, 65_536, 2**63 - 1])
@pytest.mark.parametrize("grpc", [False, True])
def test_some_are_left_for_workers_whoever_calls(limit: int, grpc: bool) -> None:
    shares = share(limit, grpc=grpc)
    left = min(limit, 65_536) - shares.http - shares.grpc
    assert left >= min(256, limit // 4)
    # A burst of those who wait to be accepted does not take them either.
    assert shares.backlog <= left // 2
    assert shares.http > left
    assert (shares.grpc > 0) == grpc
