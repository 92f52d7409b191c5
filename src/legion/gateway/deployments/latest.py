"""Work of which only what was asked for last is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Set
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]


class Latest:
    """Does one thing at a time: what was asked for before is given up, and has ended when the next begins."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        # That one, and those that are being given up.
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Work) -> None:
        """Begin with this, in place of whatever is being done."""
        self.give_up()
        self._task = task = asyncio.get_running_loop().create_task(_after(frozenset(self._tasks), work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def give_up(self) -> None:
        """Cancel what is being done. Once: a second time could cut short what it does to end cleanly."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def stop(self) -> None:
        """Cancel what is being done, and wait until all has ended."""
        self.give_up()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _after(before: Set[asyncio.Task[None]], work: Work) -> None:
    if before:
        # Unlike gather, this passes no cancellation on.
        await asyncio.wait(before)
    await work()
