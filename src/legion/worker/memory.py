"""Memory given back to the system after a large batch; an allocator keeps what was freed for the next one."""

from __future__ import annotations

import ctypes
from typing import Any

# Less is not worth the time it takes to look for it.
_LARGE = 8 * 1024 * 1024


def _trimming() -> Any:
    """glibc's `malloc_trim`, or None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


_trim = _trimming()


def give_back(handled: int) -> None:
    """Give free memory back after a batch whose bodies and answers were `handled` bytes in all.

    Call it when nothing refers to the batch any more. It does nothing after a small batch, nor where the C library
    has no call for it.
    """
    if handled >= _LARGE and _trim is not None:
        _trim(0)
