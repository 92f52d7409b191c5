"""Signals that end a command as Ctrl-C does, so that no temporary file and no process is left behind."""

from __future__ import annotations

import signal
from types import FrameType


def interrupt_on(*numbers: signal.Signals) -> None:
    """Raise KeyboardInterrupt in the main thread where one of these signals comes."""
    for number in numbers:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
