"""All connections of a gateway's HTTP port: how many there may be, and who ends those that keep silent."""

from __future__ import annotations

import asyncio
import sys
from typing import Protocol

from legion.gateway.http.timeouts import Timeouts
from legion.gateway.metrics import ConnectionMeter

# Seconds between two looks at each connection, and how many are looked at in one turn of the loop.
_INTERVAL = 1.0
_AT_ONCE = 256


class Watched(Protocol):
    """A connection, which ends itself when it is overdue."""

    def examine(self, now: float) -> None:
        """Look what it is waited for; `now` is in seconds of the loop."""


class Connections:
    """What the connections share. `watch` is to run for as long as there are any.

    A connection whose file descriptor is `first_spare` or above is refused. Since the kernel always gives the lowest
    that is free, no connection ever holds one of those: they remain for workers, however many callers there are.
    """

    def __init__(self, timeouts: Timeouts | None = None, first_spare: int = sys.maxsize) -> None:
        self.timeouts = timeouts or Timeouts()
        self.first_spare = first_spare
        self.draining = False  # every answer from now on ends its connection
        self.meter = ConnectionMeter()
        self._open: set[Watched] = set()

    def add(self, connection: Watched) -> None:
        """It has been accepted."""
        self._open.add(connection)
        self.meter.open = len(self._open)

    def discard(self, connection: Watched) -> None:
        """It has ended."""
        self._open.discard(connection)
        self.meter.open = len(self._open)

    async def watch(self) -> None:
        """Examine every connection again and again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_INTERVAL)
            for count, connection in enumerate(list(self._open), 1):
                if connection in self._open:
                    connection.examine(loop.time())
                if count % _AT_ONCE == 0:
                    await asyncio.sleep(0)
