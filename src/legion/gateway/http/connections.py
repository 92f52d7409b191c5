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
# Where there is no room, seconds until a caller who has not sent a whole head makes way for another, and until one does
# who has, but has not sent the next.
_FRESH = 0.05
_IDLE = 2.0


class Watched(Protocol):
    """A connection, which knows what it is waited for."""

    def examine(self, now: float) -> None:
        """End it if it is overdue; `now` is in seconds of the loop."""

    def idle(self, now: float) -> float:
        """For how many seconds its caller has been waited for to finish, or begin, the head of a request."""

    def make_way(self) -> None:
        """End it, since there is no room."""


class Connections:
    """What the connections share; at most `most` are open. `watch` is to run for as long as there are any.

    Where there is no room, a new one takes the place of one whose caller keeps silent; if none does, it is refused.
    """

    def __init__(self, timeouts: Timeouts | None = None, most: int = sys.maxsize) -> None:
        self.timeouts = timeouts or Timeouts()
        self.draining = False  # every answer from now on ends its connection
        self.meter = ConnectionMeter()
        self._most = most
        # Both in the order in which they were accepted; the fresh ones, with the time, have sent no whole head yet.
        self._open: dict[Watched, None] = {}
        self._fresh: dict[Watched, float] = {}

    def add(self, connection: Watched, now: float) -> bool:
        """It has been accepted, at `now` in seconds of the loop; False if there is no room for it."""
        if len(self._open) >= self._most:
            silent = self._silent(now)
            if silent is None:
                return False
            self.discard(silent)
            silent.make_way()
        self._open[connection] = None
        self._fresh[connection] = now
        self.meter.open = len(self._open)
        return True

    def _silent(self, now: float) -> Watched | None:
        for connection, since in self._fresh.items():
            if now - since >= _FRESH:
                return connection
            break
        return next((connection for connection in self._open if connection.idle(now) >= _IDLE), None)

    def begun(self, connection: Watched) -> None:
        """It has sent a whole head, its first one."""
        self._fresh.pop(connection, None)

    def discard(self, connection: Watched) -> None:
        """It has ended."""
        self._open.pop(connection, None)
        self._fresh.pop(connection, None)
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
