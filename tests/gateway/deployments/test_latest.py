"""Of several things that are asked for, the last is done, alone, and the others end cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from virtual_loop import on_virtual_loop

from legion.gateway.deployments.latest import Latest


class Works:
    """What happened, with the loop's seconds."""

    def __init__(self) -> None:
        self.latest = Latest()
        self.events: list[tuple[float, str]] = []

    def _note(self, what: str) -> None:
        self.events.append((asyncio.get_running_loop().time(), what))

    def work(self, name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        """Takes ten seconds, and five to be given up."""

        async def work() -> None:
            self._note(f"{name} begins")
            try:
                await asyncio.sleep(10)
                self._note(f"{name} is done")
            except asyncio.CancelledError:
                await asyncio.sleep(5)
                self._note(f"{name} was given up")
                raise

        return work


@on_virtual_loop
async def test_what_is_asked_for_is_done() -> None:
    works = Works()
    works.latest.run(works.work("a"))
    await asyncio.sleep(20)
    works.latest.run(works.work("b"))
    await asyncio.sleep(20)
    assert works.events == [(0, "a begins"), (10, "a is done"), (20, "b begins"), (30, "b is done")]


@on_virtual_loop
async def test_what_was_asked_for_before_has_ended_when_the_next_begins() -> None:
    works = Works()
    works.latest.run(works.work("a"))
    await asyncio.sleep(1)
    works.latest.run(works.work("b"))
    await asyncio.sleep(20)
    assert works.events == [(0, "a begins"), (6, "a was given up"), (6, "b begins"), (16, "b is done")]


@on_virtual_loop
async def test_nothing_is_cut_short_however_much_is_asked_for() -> None:
    works = Works()
    for name in "abc":
        works.latest.run(works.work(name))
        await asyncio.sleep(1)
    works.latest.give_up()
    works.latest.run(works.work("d"))
    await asyncio.sleep(20)
    assert works.events == [(0, "a begins"), (6, "a was given up"), (6, "d begins"), (16, "d is done")]


@pytest.mark.parametrize("again", ["give up", "stop", "run"])
@on_virtual_loop
async def test_what_is_being_given_up_is_not_cut_short(again: str) -> None:
    works = Works()
    works.latest.run(works.work("a"))
    await asyncio.sleep(1)
    works.latest.give_up()
    await asyncio.sleep(1)
    if again == "give up":
        works.latest.give_up()
    elif again == "stop":
        await works.latest.stop()
    else:
        works.latest.run(works.work("b"))
    await asyncio.sleep(20)
    assert works.events[:2] == [(0, "a begins"), (6, "a was given up")]


@pytest.mark.filterwarnings("error")
@on_virtual_loop
async def test_of_what_is_asked_for_in_one_turn_only_the_last_begins() -> None:
    """And what had begun before is given up all the same."""
    works = Works()
    works.latest.run(works.work("a"))
    await asyncio.sleep(1)
    for name in "bcd":
        works.latest.run(works.work(name))
    await asyncio.sleep(20)
    assert works.events == [(0, "a begins"), (6, "a was given up"), (6, "d begins"), (16, "d is done")]


@on_virtual_loop
async def test_stopping_waits_for_all_that_is_given_up() -> None:
    works = Works()
    works.latest.run(works.work("a"))
    await asyncio.sleep(1)
    works.latest.run(works.work("b"))
    await works.latest.stop()
    assert works.events == [(0, "a begins"), (6, "a was given up")]
    await works.latest.stop()
