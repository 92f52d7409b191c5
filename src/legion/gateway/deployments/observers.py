"""Who is told of every answer that a deployment gives."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from legion import wire
from legion.gateway.deployments.choice import Choice
from legion.gateway.metrics import Meter


class Answered(msgspec.Struct, frozen=True):
    """A request and its answer. `seconds` have passed since it arrived.

    `choice` and `call` are None where it was refused before it was queued. `reply` is None where the gateway refused it
    itself, and has only the status of an answer in pieces. The status is 499 for a caller that left.
    """

    request_id: bytes
    status: int
    seconds: float
    choice: Choice | None
    call: wire.Call | None
    reply: wire.Reply | None


# Called in the event loop between the answer and the next request: it must not block.
Observer = Callable[[Answered], None]


def counting(unchosen: Meter) -> Observer:
    """Counts each answer with its release's meter, or with `unchosen` where no release was chosen."""

    def count(answered: Answered) -> None:
        meter = unchosen if answered.choice is None else answered.choice.release.meter
        meter.answer(answered.status, answered.seconds)
        if answered.reply is not None:
            meter.rows += answered.reply.rows

    return count
