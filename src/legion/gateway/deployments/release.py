"""One version of a model while it is served: its pool and what its answers carry."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from legion.disk.cache import Hold, environment_of, hold_all
from legion.gateway.deployments.runtime import Runtime
from legion.gateway.dispatch.pool import Pool
from legion.gateway.limits import Limits
from legion.gateway.metrics import Meter
from legion.provisioning_messages import Delivery


class Release:
    """`start` it through its pool; `since` is when it was first given requests."""

    def __init__(self, delivery: Delivery, runtime: Runtime, *, served_as: str, replicas: int, limits: Limits) -> None:
        plan = msgspec.structs.replace(delivery.plan, served_as=served_as)
        self._runtime = runtime
        self.delivery = delivery
        self.replicas = replicas
        # From here to `end`, so that a worker that ended can be started again at any time.
        self._holds = holds_of(delivery)
        self.meter = Meter()
        start = partial(runtime.start_worker, plan, Path(delivery.python))
        self.pool = Pool(plan.name, start, workers=replicas, limits=limits, meter=self.meter)
        self.since: datetime | None = None
        registered = delivery.registered
        # What it is called by those who ask for a version.
        self.versions = (plan.version,) if registered is None else (plan.version, registered.version)
        # Names and versions are checked to be plain ASCII when the manifest is read.
        self.headers = ((b"model-name", plan.name.encode()), (b"model-version", plan.version.encode()))

    def __str__(self) -> str:
        return named(self.delivery)

    def fits(self, delivery: Delivery, replicas: int) -> bool:
        """Whether it is this very version in so many processes."""
        return self.delivery.key == delivery.key and self.replicas == replicas

    def taken(self) -> None:
        """From now on it gets requests."""
        self.since = self._runtime.now()

    async def end(self) -> None:
        """Answer what was taken in, then end the workers."""
        try:
            if self.pool.ready:
                await self.pool.drained()
        finally:
            try:
                await self.pool.stop()
            finally:
                self.let_go()

    def let_go(self) -> None:
        """Its folder and environment may leave the cache."""
        while self._holds:
            self._holds.pop().close()


def holds_of(delivery: Delivery) -> list[Hold]:
    """Keep the model's folder and its environment in the cache, until these are closed."""
    return hold_all(Path(delivery.plan.folder), environment_of(Path(delivery.python)))


def named(delivery: Delivery) -> str:
    """The version as people know it."""
    registered = delivery.registered
    where = "" if registered is None else f" (models:/{registered.name}/{registered.version})"
    return f"{delivery.plan.name} {delivery.plan.version}{where}"
