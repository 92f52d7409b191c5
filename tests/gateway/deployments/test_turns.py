"""Models start two at a time; one that takes long, fails or is given up holds up nobody for long."""

from __future__ import annotations

import asyncio

import pytest
from virtual_loop import on_virtual_loop

from legion.gateway.deployments.turns import Turns


class Works:
    """What began and ended when, in seconds of the loop."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._time = asyncio.get_running_loop().time

    async def _work(self, name: str, seconds: float, ending: float, fault: Exception | None) -> None:
        self.began[name] = self._time()
        try:
            await asyncio.sleep(seconds)
            if fault is not None:
                raise fault
        finally:
            await asyncio.sleep(ending)
            self.ended[name] = self._time()

    def run(
        self, name: str, seconds: float, *, ending: float = 0.0, fault: Exception | None = None
    ) -> asyncio.Task[None]:
        return asyncio.create_task(self.turns.run(self._work(name, seconds, ending, fault)))


@on_virtual_loop
async def test_two_work_at_once_and_the_next_wait_for_their_turn() -> None:
    works = Works()
    await asyncio.gather(*(works.run(name, 10.0) for name in "abcde"))
    assert works.began == {"a": 0, "b": 0, "c": 10, "d": 10, "e": 20}


@on_virtual_loop
async def test_work_that_takes_long_gives_its_turn_away_and_goes_on() -> None:
    works = Works()
    await asyncio.gather(*(works.run(name, 100.0) for name in "abc"))
    assert works.began == {"a": 0, "b": 0, "c": 30}
    assert works.ended == {"a": 100, "b": 100, "c": 130}


@on_virtual_loop
async def test_work_that_fails_gives_its_turn_away_and_is_heard_of() -> None:
    works = Works()
    fault = ValueError("it failed")
    failing = works.run("a", 5.0, fault=fault)
    others = [works.run(name, 50.0) for name in "bc"]
    with pytest.raises(ValueError, match="it failed") as raised:
        await failing
    assert raised.value is fault
    assert works.ended == {"a": 5.0}
    await asyncio.gather(*others)
    assert works.began == {"a": 0, "b": 0, "c": 5.0}


@on_virtual_loop
async def test_work_that_fails_after_its_turn_is_heard_of_too() -> None:
    works = Works()
    with pytest.raises(ValueError, match="it failed"):
        await works.run("a", 100.0, fault=ValueError("it failed"))


@pytest.mark.filterwarnings("error")
@on_virtual_loop
async def test_what_is_given_up_before_its_turn_never_begins() -> None:
    """And is no coroutine that nobody awaited."""
    works = Works()
    first = [works.run(name, 10.0) for name in "ab"]
    third, fourth = works.run("c", 10.0), works.run("d", 10.0)
    await asyncio.sleep(5)
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    await asyncio.gather(*first, fourth)
    assert works.began == {"a": 0, "b": 0, "d": 10}


@pytest.mark.parametrize("at", [5.0, 40.0], ids=["in its turn", "after its turn"])
@on_virtual_loop
async def test_what_is_given_up_is_waited_for_to_its_end(at: float) -> None:
    works = Works()
    given_up = works.run("a", 100.0, ending=7.0)
    await asyncio.sleep(at)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert works.ended == {"a": at + 7.0}
