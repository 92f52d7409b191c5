"""Memory given back to the system after a large batch; an allocator keeps what was freed for the next one."""

from __future__ import annotations

import ctypes
from typing import Any

# Bytes; what is less is not worth the time it takes to look for it.
LARGE = 8 * 1024 * 1024


def _trimming() -> Any:
    """glibc's `malloc_trim`, or None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


_trim = _trimming()


def give_back() -> None:
    """Give free memory back; call it after a large batch, when nothing refers to the batch any more.

    It does nothing where the C library has no call for it.
    """
    if _trim is not None:
        _trim(0)
