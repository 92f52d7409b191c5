"""Releases that get no more requests: the last one is kept warm for a while, the others finish and end."""

from __future__ import annotations

import asyncio
import logging

from legion.gateway.deployments.release import Release
from legion.provisioning_messages import Delivery

_logger = logging.getLogger("legion.gateway")


class Standby:
    """At most one `release` is kept, for an instant way back."""

    def __init__(self) -> None:
        self.release: Release | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def has(self, delivery: Delivery, replicas: int) -> bool:
        """Whether this very version is warm in so many processes."""
        return self.release is not None and self.release.fits(delivery, replicas) and self.release.pool.ready

    def take(self) -> Release:
        """The release that is kept, out of here; only after `has`."""
        assert self.release is not None
        release, self.release = self.release, None
        if self._timer is not None:
            self._timer.cancel()
        return release

    def keep(self, release: Release, seconds: float) -> None:
        """Keep it warm for so long, in place of the one that was kept before."""
        if self.release is not None:
            self.let_go(self.take())
        if seconds > 0:
            self.release = release
            self._timer = asyncio.get_running_loop().call_later(seconds, lambda: self.let_go(self.take()))
        else:
            self.let_go(release)

    def let_go(self, release: Release) -> None:
        """End it when it has answered all that it was given."""
        task = asyncio.get_running_loop().create_task(_end(release))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def stop(self) -> None:
        """End what is kept, and wait for all that are ending."""
        if self.release is not None:
            self.let_go(self.take())
        await asyncio.gather(*self._ending, return_exceptions=True)


async def _end(release: Release) -> None:
    try:
        await release.end()
    except Exception:
        _logger.exception("%s could not be ended", release)
