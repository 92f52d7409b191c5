"""How long a connection is waited for, and at what; decided from samples that are taken about once a second.

Requests pay nothing for it: no timer is armed for them, a sample only looks at what a connection knows anyway.
"""

from __future__ import annotations

import enum

import msgspec


class Phase(enum.Enum):
    """What a connection is waited for; its value names it in the metrics."""

    IDLE = "idle"  # the next request
    HEAD = "head"  # the end of a request's head
    BODY = "body"  # more of a request's body
    DISCARD = "discard"  # the end of a body that is no longer wanted, since its request has been answered
    ANSWER = "answer"  # the caller, to take the answer
    NOTHING = "nothing"  # it is the gateway's turn


class Timeouts(msgspec.Struct, frozen=True):
    """All in seconds. `body` and `answer` begin again whenever `rate` bytes a second have come, or were taken."""

    idle: float = 75.0
    head: float = 20.0
    body: float = 20.0
    discard: float = 20.0
    answer: float = 30.0
    rate: int = 500


class Sample(msgspec.Struct, frozen=True):
    """What a connection is waited for at this moment: by which request, and how many bytes have moved so far."""

    phase: Phase
    request: object = None
    moved: int = 0


class Stopwatch:
    """Since when a connection has been waited for at the same thing."""

    __slots__ = ("_moved", "_phase", "_request", "_since")

    def __init__(self) -> None:
        self._phase = Phase.NOTHING
        self._request: object = None
        self._since = 0.0
        self._moved = 0

    def overdue(self, sample: Sample, now: float, timeouts: Timeouts) -> bool:
        """Whether it is too long by now; `now` is in seconds of the loop."""
        if sample.phase is not self._phase or sample.request is not self._request:
            self._phase, self._request = sample.phase, sample.request
        elif sample.phase is Phase.NOTHING:
            return False
        else:
            allowed: float = getattr(timeouts, sample.phase.value)
            if now - self._since < allowed:
                return False
            if sample.moved - self._moved < timeouts.rate * allowed:
                return True
        self._since, self._moved = now, sample.moved
        return False

    def elapsed(self, sample: Sample, now: float) -> float:
        """For how many seconds it has been waited for at this, as far as earlier samples know."""
        same = sample.phase is self._phase and sample.request is self._request
        return now - self._since if same else 0.0
