"""How many bytes of requests and answers the gateway holds at once, over all models and connections."""

from __future__ import annotations

# How often a body is there at most: a second time while it is put together or inflated, or is on its way to a worker.
COPIES = 2


class MemoryBudget:
    """`limit` in bytes; `held` is what is counted now. For one thread: the event loop's."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @property
    def free(self) -> int:
        """How many bytes still fit; none while answers take more than the limit."""
        return max(self.limit - self.held, 0)

    def take(self, size: int) -> bool:
        """Count `size` more bytes; False, and nothing is counted, where they do not fit. Fewer bytes always fit."""
        held = self.held + size
        if held > self.limit and size > 0:
            return False
        self.held = held
        return True

    def add(self, size: int) -> None:
        """Count bytes that are there already, such as a worker's answer. New requests have to wait for them."""
        self.held += size

    def give(self, size: int) -> None:
        """Count `size` bytes no longer."""
        self.held -= size
