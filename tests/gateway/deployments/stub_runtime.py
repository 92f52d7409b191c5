"""Versions of a model that need not exist, and workers that start for them as a test says."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from legion import wire
from legion.gateway.deployments.release import Release
from legion.gateway.deployments.runtime import Runtime
from legion.gateway.dispatch.pending import Pending
from legion.gateway.limits import Limits
from legion.provisioning_messages import Delivery, Registered
from stub_worker import StubWorker

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def delivery(version: str, *, folder: str = "/nowhere", python: str = "/nowhere/bin/python") -> Delivery:
    """A version of the model "wine", whose key is its version."""
    plan = wire.Plan("wine", version, folder, "gppi")
    return Delivery(1, version, plan, python, registered=Registered("wine", version))


class StubWorkers:
    """Every worker that was started, by its version. The next starts of a version raise what `faults` has for it.

    A start takes `seconds`, or for the next ones those of `later`; a worker takes `ending` seconds to stop.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.by_version: defaultdict[str, list[StubWorker]] = defaultdict(list)
        self.faults: defaultdict[str, list[Exception]] = defaultdict(list)
        # When each start was asked for, by its version.
        self.starts: defaultdict[str, list[float]] = defaultdict(list)
        self.plans: list[tuple[wire.Plan, Path, float]] = []
        self.seconds = 0.0
        self.later: list[float] = []
        self.ending = 0.0
        self.runtime = Runtime(self._start, lambda: EPOCH + timedelta(seconds=self.loop.time()), lambda: 0.5)

    async def _start(self, plan: wire.Plan, python: Path, seconds: float) -> StubWorker:
        self.plans.append((plan, python, seconds))
        self.starts[plan.version].append(self.loop.time())
        faults = self.faults[plan.version]
        fault = faults.pop(0) if faults else None
        await asyncio.sleep(self.later.pop(0) if self.later else self.seconds)
        if fault is not None:
            raise fault
        worker = StubWorker(ending=self.ending)
        self.by_version[plan.version].append(worker)
        return worker

    @property
    def alive(self) -> list[str]:
        """The versions of the workers that have not ended, one for each."""
        return [version for version, workers in self.by_version.items() for one in workers if not one.ended]

    def release(self, version: str, *, replicas: int = 1) -> Release:
        """One that is not started yet."""
        limits = Limits(timeout=10.0)
        return Release(delivery(version), self.runtime, served_as="cellar", replicas=replicas, limits=limits)

    async def started(self, version: str, *, replicas: int = 1) -> Release:
        """One that answers."""
        release = self.release(version, replicas=replicas)
        await release.pool.start()
        release.taken()
        return release


def ask(release: Release | None, body: bytes = b"{}") -> Pending:
    """A request that waits for its answer."""
    assert release is not None
    deadline = asyncio.get_running_loop().time() + release.pool.limits.timeout
    pending = release.pool.submit(wire.Call(wire.MLFLOW, body), None, deadline)
    # Not every test looks at every refusal.
    pending.future.add_done_callback(asyncio.Future.exception)
    return pending
