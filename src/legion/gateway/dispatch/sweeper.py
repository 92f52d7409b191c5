"""Looks over what waits, every so often while anything does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

_logger = logging.getLogger("legion.gateway")

# Seconds between looks. One that takes long is followed by a longer pause, so that looking never takes over the loop.
SWEEP = 0.05
_PAUSE = 20


class Sweeper:
    """Calls `look` with the loop time, for as long as it says that there is more to do."""

    def __init__(self, look: Callable[[float], bool]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def wake(self) -> None:
        """There is something to look over."""
        if self._timer is None and not self._stopped:
            self._timer = self._loop.call_later(SWEEP, self._sweep)

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        began = self._loop.time()
        more = True
        try:
            more = self._look(began)
        except Exception:
            _logger.exception("waiting requests could not be looked over")
        took = self._loop.time() - began
        again = more and not self._stopped
        self._timer = self._loop.call_later(max(SWEEP, _PAUSE * took), self._sweep) if again else None
