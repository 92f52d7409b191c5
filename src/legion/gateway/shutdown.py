"""From a signal to the end: not ready, then drained, then ended; a second signal ends at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """Made in the loop that it stops. `listen` for signals, and await `stopped`."""

    def __init__(self, drain: float, on_drain: Callable[[], None]) -> None:
        """`on_drain` is called at the first signal; `stopped` is set `drain` seconds later."""
        self.stopped = asyncio.Event()
        self._drain = drain
        self._on_drain = on_drain
        self._draining = False
        self._loop = asyncio.get_running_loop()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on."""
        for signum in _SIGNALS:
            self._loop.add_signal_handler(signum, self._signalled, signum)

    def _signalled(self, signum: signal.Signals) -> None:
        if self._draining:
            end_by(signum)
        self._draining = True
        self._on_drain()
        if self._drain > 0:
            self._loop.call_later(self._drain, self.stopped.set)
        else:
            self.stopped.set()


def end_by(signum: signal.Signals) -> None:
    """End this process at once, as the signal itself would have; the workers' lifelines end them with it."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    # The first process of a container is not ended by a signal's default action.
    os._exit(128 + signum)
