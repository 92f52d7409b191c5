"""What long work tells its caller while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from legion.logs import one_line as one_line

Advance = Callable[[int], None]

_logger = logging.getLogger("legion")


class Progress:
    """Receives lines about what is going on, and how far it is. This one writes the lines to the logger `legion`.

    Override both methods to show them elsewhere.
    """

    def say(self, line: str) -> None:
        """One line about what is going on."""
        _logger.info(line)

    def bar(self, label: str, total: int | None, unit: str = "bytes") -> AbstractContextManager[Advance]:
        """A context around work of `total` units ("bytes" or "rows"), None where that is not known.

        Its function is called with the number of units done since the last call.
        """
        return nullcontext(_ignore)


LOGGED = Progress()


def _ignore(amount: int) -> None:
    pass
