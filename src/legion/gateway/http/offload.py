"""Work for a caller that would hold up the event loop: done in a few threads, and no longer than it is wanted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

from legion.gateway.dispatch.pending import Left, Receive

_T = TypeVar("_T")
# Says whether the work is to end; asked every few milliseconds.
Stop: TypeAlias = Callable[[], bool]

# Not the loop's own threads, which everything else in the process shares. What finds none free waits its turn.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="offload")


class Stopped(Exception):
    """Raised by work that was told to end; nobody waits for it any more."""


async def offload(work: Callable[[Stop], _T], deadline: float, receive: Receive | None = None) -> _T:
    """What `work` returns or raises, done in a thread.

    It is told to stop when `deadline` (in the loop's time) has passed, when `receive` says that the caller has left,
    or when this is cancelled. Raises TimeoutError after the deadline and Left without a caller.
    """
    stopped = threading.Event()
    working = asyncio.get_running_loop().run_in_executor(_THREADS, work, stopped.is_set)
    leaving = None if receive is None else asyncio.ensure_future(receive())
    try:
        async with asyncio.timeout_at(deadline):
            if leaving is not None:
                await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not working.done() and leaving.result()["type"] == "http.disconnect":
                    raise Left
            return await working
    finally:
        stopped.set()
        working.cancel()
        if leaving is not None:
            leaving.cancel()
