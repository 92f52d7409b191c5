"""An answer that the gateway gives itself, in the shape of the protocol that was spoken."""

from __future__ import annotations

import msgspec

from legion import wire
from legion.gateway.dispatch.pending import Crashed, QueueFull, TooLate
from legion.gateway.limits import Limits

_CODES = {
    400: "BAD_REQUEST",
    404: "RESOURCE_DOES_NOT_EXIST",
    408: "REQUEST_TIMEOUT",
    413: "REQUEST_LIMIT_EXCEEDED",
    415: "BAD_REQUEST",
    429: "RESOURCE_EXHAUSTED",
    431: "REQUEST_LIMIT_EXCEEDED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_JSON = (b"content-type", b"application/json")


class Refusal(Exception):
    """A status and a sentence; `retry_after` in seconds where trying again helps."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    @classmethod
    def of(cls, error: Exception, limits: Limits) -> Refusal:
        """What each reason not to answer looks like to the caller."""
        if isinstance(error, cls):
            return error
        if isinstance(error, QueueFull):
            return cls(429, f"{limits.queue} requests are waiting already; try again in a moment", error.retry_after)
        if isinstance(error, TooLate):
            return cls(504, f"the model did not answer within {limits.timeout:g} s", error.retry_after)
        assert isinstance(error, Crashed)
        return cls(503, "the model's process ended while answering this request", error.retry_after)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go with it."""
        return [_JSON] if self.retry_after is None else [_JSON, (b"retry-after", b"%d" % self.retry_after)]

    def body(self, protocol: int) -> bytes:
        """The error object of the protocol."""
        if protocol == wire.LEGION:
            return msgspec.json.encode({"message": self.message})
        if protocol == wire.OPEN_INFERENCE:
            return msgspec.json.encode({"error": self.message})
        code = _CODES.get(self.status, "INTERNAL_ERROR")
        return msgspec.json.encode({"error_code": code, "message": self.message, "stack_trace": ""})
