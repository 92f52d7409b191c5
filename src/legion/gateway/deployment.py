"""A model that is served: its name, its pool, and what its answers carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from legion import wire
from legion.gateway.limits import Limits
from legion.gateway.metrics import Meter, Reading
from legion.gateway.pool import Pool


class Served(msgspec.Struct, frozen=True):
    """One model to serve, decided before the gateway starts. `example` is a body for the docs page."""

    name: str
    plan: wire.Plan
    python: Path
    replicas: int = 1
    limits: Limits = Limits()
    example: dict[str, Any] | None = None


class Deployment:
    """A served model while the gateway runs."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.name = served.name
        self.meter = Meter()
        self.pool = Pool(served.plan, served.python, replicas=served.replicas, limits=served.limits, meter=self.meter)
        self.failure: str | None = None
        # Names and versions are checked to be plain ASCII when the manifest is read.
        self.headers = (
            (b"model-name", served.plan.name.encode()),
            (b"model-version", served.plan.version.encode()),
        )

    def reading(self) -> Reading:
        """What the metrics say of it now."""
        pool = self.pool
        return Reading(
            self.name,
            self.served.plan.version,
            self.meter,
            waiting=pool.waiting,
            workers=len(pool.pids),
            ready=pool.ready,
        )
