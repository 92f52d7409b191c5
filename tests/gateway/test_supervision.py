"""A supervised task ends when its owner ends it, and never otherwise; its clock is the loop's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from virtual_loop import run

from legion.gateway.memory_budget import MemoryBudget
from legion.gateway.metrics import Metrics
from legion.gateway.supervision import BACKOFF, supervise


def failures(task: str) -> float | None:
    line = f'legion_task_failures_total{{task="{task}"}} '
    found = [one for one in Metrics(lambda: (), MemoryBudget(1)).render().decode().splitlines() if one.startswith(line)]
    return float(found[0].removeprefix(line)) if found else None


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def started(fail: Callable[[], Awaitable[None]], count: int, *, lasting: float = 0.0) -> list[float]:
    """When a task that fails so was started, `count` times, in seconds of the loop."""
    times: list[float] = []

    async def scenario() -> None:
        done = asyncio.Event()

        async def work() -> None:
            times.append(asyncio.get_running_loop().time())
            if len(times) == count:
                done.set()
                await asyncio.Event().wait()
            await asyncio.sleep(lasting)
            await fail()

        task = supervise("probe", work)
        await done.wait()
        await end(task)

    run(scenario)
    return times


async def _raises() -> None:
    raise OSError(24, "Too many open files")


async def _returns() -> None:
    return


async def _awaits_what_was_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        (_raises, "failed with OSError"),
        (_returns, "ended without being asked to"),
        (_awaits_what_was_cancelled, "failed with CancelledError"),
    ],
)
def test_an_end_that_nobody_asked_for_is_logged_counted_and_mended(
    fail: Callable[[], Awaitable[None]], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = failures("probe") or 0.0
    assert len(started(fail, 3)) == 3
    assert failures("probe") == before + 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert all(f"the task 'probe' {said}" in record.getMessage() for record in caplog.records)


def test_the_pause_grows_with_every_failure_up_to_the_last() -> None:
    times = started(_raises, len(BACKOFF) + 3)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == pytest.approx([*BACKOFF, BACKOFF[-1], BACKOFF[-1]], abs=1e-6)


def test_after_a_long_run_the_pause_is_short_again() -> None:
    times = started(_raises, 4, lasting=BACKOFF[-1] + 1)
    pauses = [later - earlier - BACKOFF[-1] - 1 for earlier, later in pairwise(times)]
    assert pauses == pytest.approx([BACKOFF[0]] * 3, abs=1e-6)


def test_its_owner_ends_it_at_once_while_it_runs_and_while_it_pauses(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        running = asyncio.Event()

        async def work() -> None:
            running.set()
            await asyncio.Event().wait()

        task = supervise("quiet probe", work)
        await running.wait()
        await end(task)
        assert failures("quiet probe") == 0.0
        assert not caplog.records

        pausing = supervise("quiet probe", _raises)
        while not caplog.records:
            await asyncio.sleep(0)
        await end(pausing)
        assert failures("quiet probe") == 1.0

    run(scenario)
