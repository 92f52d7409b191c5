"""What a gateway and its provisioner say to each other, one JSON object a line.

The gateway knows neither MLflow nor environments; the provisioner turns a model reference into what a worker
needs. This module is all that the two share; it holds no I/O.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from legion.wire import Plan

# The longest line, in bytes. A plan holds a signature and an example; both are small in any model that can be served.
MAX_LINE = 16 * 1024 * 1024

Kind = Literal["usage", "refused", "outside"]


class Registered(msgspec.Struct, frozen=True):
    """A version in the model registry."""

    name: str
    version: str


class Order(msgspec.Struct, frozen=True, tag="order"):
    """Bring `model` (any reference), and with `follow` look again every so many seconds.

    `known` is the key of what the gateway has already; the same again is not brought.
    """

    id: int
    model: str
    env: str = "auto"
    follow: float | None = None
    known: str | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Nobody wants that order any more."""

    id: int


class Mark(msgspec.Struct, frozen=True, tag="mark"):
    """Write into the registry that a gateway did not take this version, or (None) that one did."""

    registered: Registered
    reason: str | None


class Bringing(msgspec.Struct, frozen=True, tag="bringing"):
    """This version is worked on from now until its Delivery or Failure; should the process end, it may be why."""

    id: int
    key: str
    digest: str | None = None
    registered: Registered | None = None


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    """A model that can be started. `key` says which version it is; equal keys are the same version.

    `python` is the interpreter's path, `example` a body of MLflow's protocol for the docs page.
    """

    id: int
    key: str
    plan: Plan
    python: str
    example: dict[str, Any] | None = None
    digest: str | None = None
    registered: Registered | None = None


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """A version that could not be brought; what is served stays. `kind` is the branch of the error tree."""

    id: int
    reason: str
    kind: Kind
    key: str | None = None
    digest: str | None = None
    registered: Registered | None = None


class Reach(msgspec.Struct, frozen=True, tag="reach"):
    """The registry cannot be asked (`reason` says why), or it answered (None): said when that changes, and once
    where a first look finds nothing new to bring.
    """

    id: int
    reason: str | None


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """What is going on, for people."""

    id: int
    line: str


Request = Order | Cancel | Mark
# What whoever ordered is told, and all that the provisioner says.
Event = Delivery | Failure | Reach | Progress
Notice = Bringing | Event
