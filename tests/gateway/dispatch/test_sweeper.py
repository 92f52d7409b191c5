"""The sweeper looks while there is something to look over, survives what goes wrong, and never takes over the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from virtual_loop import VirtualLoop, on_virtual_loop

from legion.gateway.dispatch.sweeper import SWEEP, Sweeper


class Looks:
    """When it was looked; there is more to do while `more`, and each look does `then`."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.at: list[float] = []
        self.told: list[float] = []
        self.more = True
        self.then = then

    def __call__(self, now: float) -> bool:
        self.at.append(asyncio.get_running_loop().time())
        self.told.append(now)
        self.then()
        return self.more


def times(count: int, every: float = SWEEP) -> list[float]:
    return [every * (number + 1) for number in range(count)]


@on_virtual_loop
async def test_it_looks_every_so_often_while_there_is_more() -> None:
    looks = Looks()
    sweeper = Sweeper(looks)
    await asyncio.sleep(1)
    assert looks.at == []
    sweeper.wake()
    sweeper.wake()
    await asyncio.sleep(3.5 * SWEEP)
    assert looks.at == looks.told == pytest.approx([1 + time for time in times(3)])
    sweeper.stop()


@on_virtual_loop
async def test_it_rests_when_there_is_no_more_until_it_is_woken() -> None:
    looks = Looks()
    sweeper = Sweeper(looks)
    sweeper.wake()
    looks.more = False
    await asyncio.sleep(10)
    assert len(looks.at) == 1
    sweeper.wake()
    await asyncio.sleep(10)
    assert looks.at == pytest.approx([SWEEP, 10 + SWEEP])


@on_virtual_loop
async def test_after_a_look_that_takes_long_it_pauses_longer() -> None:
    def compute() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.pass_time(0.5)

    looks = Looks(compute)
    sweeper = Sweeper(looks)
    sweeper.wake()
    await asyncio.sleep(25)
    assert looks.at == pytest.approx([0.05, 10.55, 21.05])
    sweeper.stop()


@on_virtual_loop
async def test_a_look_that_fails_is_logged_and_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError("nobody thought of this")

    looks = Looks(fail)
    sweeper = Sweeper(looks)
    sweeper.wake()
    await asyncio.sleep(3.5 * SWEEP)
    assert len(looks.at) == 3
    assert caplog.text.count("ZeroDivisionError: nobody thought of this") == 3
    sweeper.stop()


@pytest.mark.parametrize("woken", [True, False])
@on_virtual_loop
async def test_it_looks_no_more_once_it_is_stopped(woken: bool) -> None:
    looks = Looks()
    sweeper = Sweeper(looks)
    if woken:
        sweeper.wake()
    sweeper.stop()
    sweeper.wake()
    await asyncio.sleep(1)
    assert looks.at == []


@on_virtual_loop
async def test_it_may_be_stopped_by_what_it_looks_over() -> None:
    looks = Looks()
    sweeper = Sweeper(looks)
    looks.then = sweeper.stop
    sweeper.wake()
    await asyncio.sleep(1)
    assert len(looks.at) == 1
