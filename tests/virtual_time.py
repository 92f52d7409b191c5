"""An event loop whose clock jumps to the next thing that is due, so that minutes of back-off take no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Jumping(selectors.SelectSelector):
    """Waits for nothing but what is there already; the loop's clock goes on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "everything waits for something that never comes"
            self.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """No threads and no subprocesses: nothing outside runs while its clock jumps."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._jumping.now


def run(main: Coroutine[Any, Any, object]) -> None:
    """`asyncio.run` on such a loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)
