"""Work beside the event loop ends with whoever wanted it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from legion.gateway.dispatch.pending import Left
from legion.gateway.http.offload import Stop, Stopped, offload


class Work:
    """Goes on until it is told to stop."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()

    def __call__(self, stop: Stop) -> None:
        self.begun.set()
        tick = threading.Event()
        while not stop():
            tick.wait(0.001)
        self.ended.set()
        raise Stopped


async def _silent() -> MutableMapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def _soon() -> float:
    return asyncio.get_running_loop().time() + 60


def _run(main: Callable[[Work], Awaitable[None]]) -> None:
    async def both() -> None:
        work = Work()
        await main(work)
        assert await asyncio.to_thread(work.ended.wait, 10), "the work goes on"

    asyncio.run(both())


def test_what_the_work_returns_or_raises() -> None:
    async def main() -> None:
        assert await offload(lambda stop: stop(), _soon()) is False
        assert await offload(lambda stop: 5, _soon(), _silent) == 5
        with pytest.raises(ZeroDivisionError):
            await offload(lambda stop: 1 // 0, _soon(), _silent)

    asyncio.run(main())


def test_it_stops_at_its_deadline() -> None:
    async def main(work: Work) -> None:
        with pytest.raises(TimeoutError):
            await offload(work, asyncio.get_running_loop().time() + 0.05, _silent)

    _run(main)


def test_it_stops_when_its_caller_leaves() -> None:
    async def main(work: Work) -> None:
        async def leave() -> MutableMapping[str, Any]:
            await asyncio.to_thread(work.begun.wait)
            return {"type": "http.disconnect"}

        with pytest.raises(Left):
            await offload(work, _soon(), leave)

    _run(main)


def test_it_stops_when_it_is_cancelled() -> None:
    async def main(work: Work) -> None:
        task = asyncio.ensure_future(offload(work, _soon()))
        await asyncio.to_thread(work.begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    _run(main)


def test_what_waits_for_its_turn_is_not_begun_once_nobody_wants_it() -> None:
    async def main() -> None:
        first = [Work() for _ in range(2)]
        running = [asyncio.ensure_future(offload(work, _soon())) for work in first]
        for work in first:
            await asyncio.to_thread(work.begun.wait)
        third = Work()
        with pytest.raises(TimeoutError):
            await offload(third, asyncio.get_running_loop().time() + 0.05)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert await offload(lambda stop: "free again", _soon()) == "free again"
        assert not third.begun.is_set()

    asyncio.run(main())
