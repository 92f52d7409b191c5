"""An event loop whose clock moves only when nothing is left to do, so that hours pass in milliseconds and every run of
a seed is the same."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import heapq
import itertools
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


# No run needs so many.
_MOST_TURNS = 1_000_000


class Stuck(Exception):
    """Something is awaited that nothing will ever bring."""


class VirtualLoop(base_events.BaseEventLoop):
    """asyncio's own loop, without input or output. `faults` collects what callbacks and forgotten tasks raised."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._turns = 0
        self.faults: list[str] = []
        self.set_exception_handler(self._note)
        # asyncio's own attributes, of which the stubs say nothing.
        self._due: deque[Any] = getattr(self, "_ready")  # noqa: B009
        # By time, and then in the order in which they were asked for.
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    def time(self) -> float:
        return self.now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """asyncio's, without its checks: half of a simulation's time is spent on timers."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """asyncio's, without its checks."""
        handle = asyncio.Handle(callback, args, self, context)
        self._due.append(handle)
        return handle

    def pass_time(self, seconds: float) -> None:
        """Something computes for so long, and nothing else runs meanwhile."""
        self.now += seconds

    def _run_once(self) -> None:
        """One turn: what is ready, or else what is next in time."""
        self._turns += 1
        if self._turns > _MOST_TURNS:
            raise Stuck("it goes on for ever")
        ready, timers = self._due, self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not ready and not getattr(self, "_stopping"):  # noqa: B009
            if not timers:
                raise Stuck("nothing is left to do, and something is still awaited")
            self.now = max(self.now, timers[0][0])
        now = self.now
        while timers and timers[0][0] <= now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

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


def on_virtual_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on such a loop. It fails where a callback or a forgotten task raised, and where a task is left."""

    @functools.wraps(test)
    def run_test(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)
            # Whatever was cancelled or set just now comes to its end.
            await asyncio.sleep(1e-6)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left: {left}"

        _, loop = run(main)
        assert not loop.faults, loop.faults

    return run_test
