"""An event loop whose clock moves only when nothing is left to do, so that hours pass in milliseconds and every run of
a seed is the same."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import base_events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Something is awaited that nothing will ever bring."""


class _Clock:
    """Stands where a loop has its selector: waiting for input is waiting for time."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is left to do, and something is still awaited")
        self.now += timeout
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """asyncio's own loop, without input or output. `faults` collects what callbacks and forgotten tasks raised."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Clock()
        self._clock_resolution = 1e-9
        self.faults: list[str] = []
        self.set_exception_handler(self._note)

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    def time(self) -> float:
        return self._selector.now

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody is to be woken."""


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, VirtualLoop]:
    """Run to the end, and give the loop too. Raises Stuck."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main()), loop
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        with contextlib.suppress(Stuck):
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
