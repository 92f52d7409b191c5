"""Models start a few at a time, so that they do not starve each other of the processor."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

# Starting several models at once must not starve each of the processor.
_AT_ONCE = 2
# Seconds after which a start that goes on no longer holds up the next.
_TURN = 30.0


class Turns:
    """`run` waits until it is its turn."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work; what it raises is raised."""
        task: asyncio.Task[None] | None = None
        try:
            async with self._free:
                task = asyncio.get_running_loop().create_task(work)
                await asyncio.wait((task,), timeout=_TURN)
            await task
        except BaseException:
            if task is None:
                work.close()
            else:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            raise
