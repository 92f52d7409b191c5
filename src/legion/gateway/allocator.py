"""The C library's allocator: what large bodies took is given back to the system as soon as they are gone."""

from __future__ import annotations

import ctypes

# glibc's number for the size from which a block is a mapping of its own.
_M_MMAP_THRESHOLD = -3
_LARGE = 1024 * 1024


def give_large_blocks_back() -> None:
    """Keep glibc from raising that size with every large block that is freed; other C libraries do no such thing."""
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
    except (OSError, AttributeError):
        return
