"""What deployments take from outside: how workers start, the time of day, random numbers. A simulation brings its own.

The clock that deadlines go by is the running event loop's.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from legion import wire
from legion.gateway.dispatch.worker import Worker
from legion.replica import Replica


class Runtime(msgspec.Struct, frozen=True):
    """`start_worker` takes a plan, the interpreter and the seconds that it has; `random` gives numbers from 0 to 1."""

    start_worker: Callable[[wire.Plan, Path, float], Awaitable[Worker]]
    now: Callable[[], datetime]
    random: Callable[[], float]


async def _start(plan: wire.Plan, python: Path, seconds: float) -> Worker:
    return await Replica.start(plan, python, start_timeout=seconds)


REAL = Runtime(start_worker=_start, now=lambda: datetime.now(UTC), random=random.random)
