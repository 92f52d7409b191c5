"""What a model written in Java runs in: Legion's own interpreter, with a Java virtual machine inside."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from legion.errors import MissingExtraError, UsageError


def interpreter(mode: str) -> Path:
    """The running Python. Raises UsageError for a mode that would make another, MissingExtraError without JPype."""
    if mode not in ("auto", "local"):
        raise UsageError(
            f"a model written in Java needs no environment of Python's, so --env {mode} means nothing; use auto"
        )
    if not available():
        raise MissingExtraError("java", "a model written in Java")
    return Path(sys.executable)


def available() -> bool:
    """Whether JPype is there, without importing it."""
    return importlib.util.find_spec("jpype") is not None
