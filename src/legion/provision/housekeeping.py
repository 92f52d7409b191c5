"""The cache of a gateway that goes on for months: kept under its bound after each delivery, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from legion.disk import sizes
from legion.disk.cache import let_go
from legion.disk.prune import prune
from legion.errors import LegionError

_logger = logging.getLogger("legion.provision")

# A gateway holds what it was given as soon as it has read the delivery; this is ample.
_HANDOVER = 120.0


class Housekeeping:
    """What it runs into is a line in the log: a delivery never fails for it."""

    def __init__(self, cache: Path, environ: Mapping[str, str]) -> None:
        self._cache = cache
        self._delivered = threading.Event()
        try:
            self._size = sizes.budget(environ)
        except LegionError as error:
            self._size = sizes.DEFAULT
            _logger.warning("%s; until then it is %s", error, sizes.shown(self._size))
        threading.Thread(target=self._run, name="housekeeping", daemon=True).start()

    def delivered(self) -> None:
        """Something was added; returns at once."""
        self._delivered.set()

    def _run(self) -> None:
        pause: float | None = None
        while True:
            came = self._delivered.wait(pause)
            self._delivered.clear()
            self._tidy()
            # Once more, when what was handed over last is held by nobody but who runs it.
            pause = _HANDOVER + 1 if came else None

    def _tidy(self) -> None:
        let_go(_HANDOVER)
        try:
            done = prune(self._cache, self._size, wait=False)
        except Exception as error:
            _logger.warning("the cache in %s was not pruned (%s)", self._cache, error)
            return
        if done.removed:
            count = len(done.removed)
            what = f"{count} {'entry' if count == 1 else 'entries'}, {sizes.shown(done.freed)},"
            _logger.info("%s removed from the cache in %s; %s are left", what, self._cache, sizes.shown(done.left))
