"""Long-lived tasks that survive what goes wrong in them: an end that nobody asked for is logged, counted and mended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

_logger = logging.getLogger("legion.gateway")

# Seconds before each new start; the last one repeats. A run that outlasts it begins again with the first.
BACKOFF = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)

# Of this process, by the tasks' names; /metrics shows them.
failures: dict[str, int] = {}


def supervise(
    name: str, run: Callable[[], Coroutine[Any, Any, object]], *, backoff: Sequence[float] = BACKOFF
) -> asyncio.Task[None]:
    """Run a coroutine function that is meant never to end, and start it again whenever it does.

    The owner keeps the task and ends it with `cancel`; nothing else ends it. An exception, a plain return and a
    cancellation that came from within are each logged and counted in `legion_task_failures_total{task=name}`, so
    `name` says what kind of task it is, in a few words, and never which model. `backoff` is in seconds.
    """
    failures.setdefault(name, 0)  # shown before anything fails, so that it can be watched
    return asyncio.get_running_loop().create_task(_supervise(name, run, backoff), name=name)


async def _supervise(name: str, run: Callable[[], Coroutine[Any, Any, object]], backoff: Sequence[float]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    tries = 0
    while True:
        began = loop.time()
        reason: BaseException | None = None
        try:
            await run()
        except asyncio.CancelledError as error:
            if task.cancelling():
                raise
            # Something that it awaited was cancelled, not the task itself.
            reason = error
        except Exception as error:
            reason = error
        if loop.time() - began > backoff[-1]:
            tries = 0
        delay = backoff[min(tries, len(backoff) - 1)]
        tries += 1
        failures[name] += 1
        how = "ended without being asked to" if reason is None else f"failed with {type(reason).__name__}"
        _logger.error("the task %r %s and is started again in %g s", name, how, delay, exc_info=reason)
        del reason  # its traceback would keep everything that the run held
        await asyncio.sleep(delay)
