"""An answer that the gateway gives itself, in the shape of the protocol that was spoken."""

from __future__ import annotations

import msgspec

from legion.gateway.dispatch.pending import Crashed, QueueFull, TooLate
from legion.gateway.limits import Limits
from legion.gateway.protocols.protocol import Protocol

_JSON = (b"content-type", b"application/json")
# Statuses that may pass: another try is worth it, and always told when.
PASSING = frozenset({429, 503, 504})


class Refusal(Exception):
    """A status and a sentence; `retry_after` in seconds where trying again helps, which is 1 if not given."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = 1 if retry_after is None and status in PASSING else retry_after

    @classmethod
    def of(cls, error: Exception, limits: Limits) -> Refusal:
        """What each reason not to answer looks like to the caller."""
        if isinstance(error, cls):
            return error
        if isinstance(error, QueueFull):
            return cls(429, f"too many requests are waiting; try again in {error.retry_after} s", error.retry_after)
        if isinstance(error, TooLate):
            return cls(504, f"the model did not answer within {limits.timeout:g} s", error.retry_after)
        assert isinstance(error, Crashed)
        return cls(503, "the model's process ended while answering this request", error.retry_after)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with it."""
        return [_JSON] if self.retry_after is None else [_JSON, (b"retry-after", b"%d" % self.retry_after)]

    def body(self, protocol: Protocol) -> bytes:
        """The error object of the protocol."""
        return msgspec.json.encode(protocol.error(self.status, self.message))


def too_large(limit: int) -> Refusal:
    """A body has more than `limit` bytes."""
    return Refusal(413, f"the body is over the limit of {limit} bytes; send fewer rows at a time")


def no_room() -> Refusal:
    """The memory budget is used up for now."""
    return Refusal(503, "the server holds as many requests as its memory allows; try again in a moment")
