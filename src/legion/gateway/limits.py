"""What the gateway lets in."""

from __future__ import annotations

import msgspec

MIB = 1024 * 1024


class Limits(msgspec.Struct, frozen=True):
    """`max_body` in bytes, `queue` in waiting requests of one model, `timeout` in seconds from arrival.

    A version has `start` seconds to be loaded, proven and warm.
    A batch holds at most `batch` requests and about `batch_bytes` bytes, so that one frame stays small.
    """

    max_body: int = 64 * MIB
    queue: int = 1024
    timeout: float = 60.0
    start: float = 300.0
    batch: int = 256
    batch_bytes: int = 16 * MIB
