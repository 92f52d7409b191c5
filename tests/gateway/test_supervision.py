"""A supervised task ends when its owner ends it, and never otherwise; its clock is the loop's."""

from __future__ import annotations

import asyncio
import logging
import selectors
from itertools import pairwise

import pytest

from legion.gateway.memory_budget import MemoryBudget
from legion.gateway.metrics import Metrics
from legion.gateway.supervision import BACKOFF, supervise


class _Waitless(selectors.DefaultSelector):
    """Never waits: what it would have waited is added to the clock."""

    now = 0.0

    def select(self, timeout=None):
        self.now += timeout or 0.0
        return super().select(0)


class VirtualClockLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._waitless = _Waitless()
        super().__init__(self._waitless)

    def time(self):
        return self._waitless.now


def run(coroutine):
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(coroutine)


def failures(task):
    line = f'legion_task_failures_total{{task="{task}"}} '
    found = [one for one in Metrics(lambda: (), MemoryBudget(1)).render().decode().splitlines() if one.startswith(line)]
    return float(found[0].removeprefix(line)) if found else None


async def end(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def starts(fail, count, *, lasting=0.0):
    """When a task that fails so was started, `count` times, in seconds of the loop."""
    times, done = [], asyncio.Event()

    async def work():
        times.append(asyncio.get_running_loop().time())
        if len(times) == count:
            done.set()
            await asyncio.Event().wait()
        await asyncio.sleep(lasting)
        await fail()

    task = supervise("probe", work)
    await done.wait()
    await end(task)
    return times


async def _raises():
    raise OSError(24, "Too many open files")


async def _returns():
    return


async def _awaits_what_was_cancelled():
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
def test_an_end_that_nobody_asked_for_is_logged_counted_and_mended(fail, said, caplog):
    before = failures("probe") or 0.0
    assert len(run(starts(fail, 3))) == 3
    assert failures("probe") == before + 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert all(f"the task 'probe' {said}" in record.getMessage() for record in caplog.records)


def test_the_pause_grows_with_every_failure_up_to_the_last():
    times = run(starts(_raises, len(BACKOFF) + 3))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == pytest.approx([*BACKOFF, BACKOFF[-1], BACKOFF[-1]], abs=1e-6)


def test_after_a_long_run_the_pause_is_short_again():
    times = run(starts(_raises, 4, lasting=BACKOFF[-1] + 1))
    pauses = [later - earlier - BACKOFF[-1] - 1 for earlier, later in pairwise(times)]
    assert pauses == pytest.approx([BACKOFF[0]] * 3, abs=1e-6)


def test_its_owner_ends_it_at_once_while_it_runs_and_while_it_pauses(caplog):
    async def scenario():
        running = asyncio.Event()

        async def work():
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

    run(scenario())
