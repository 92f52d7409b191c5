"""One version while it is served: what its workers are started with, what it is called, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from stub_runtime import EPOCH, StubWorkers, ask, delivery
from virtual_loop import on_virtual_loop

from legion.disk.prune import prune
from legion.gateway.deployments.release import Release, named
from legion.gateway.dispatch.pending import Crashed
from legion.gateway.limits import Limits

LIMITS = Limits(timeout=10.0, start=7.0)


@on_virtual_loop
async def test_its_workers_are_started_with_its_plan_under_the_name_that_callers_know() -> None:
    workers = StubWorkers()
    delivered = delivery("1", python="/environments/1/bin/python")
    release = Release(delivered, workers.runtime, served_as="cellar", replicas=2, limits=LIMITS)
    await release.pool.start()
    plan = msgspec.structs.replace(delivered.plan, served_as="cellar")
    assert workers.plans == [(plan, Path("/environments/1/bin/python"), 7.0)] * 2
    await release.end()


@on_virtual_loop
async def test_it_is_known_by_both_of_its_versions() -> None:
    workers = StubWorkers()
    registered = workers.release("1.2")
    assert registered.versions == ("1.2", "1.2")
    assert str(registered) == "wine 1.2 (models:/wine/1.2)"
    assert registered.headers == ((b"model-name", b"wine"), (b"model-version", b"1.2"))
    file = msgspec.structs.replace(delivery("3"), registered=None)
    assert named(file) == "wine 3"
    assert Release(file, workers.runtime, served_as="wine", replicas=1, limits=LIMITS).versions == ("3",)


@on_virtual_loop
async def test_it_fits_its_version_in_as_many_processes() -> None:
    release = StubWorkers().release("1", replicas=2)
    assert release.fits(delivery("1"), 2)
    assert not release.fits(delivery("1"), 3)
    assert not release.fits(delivery("2"), 2)


@on_virtual_loop
async def test_it_is_current_from_when_it_first_gets_requests() -> None:
    release = StubWorkers().release("1")
    assert release.since is None
    release.taken()
    assert release.since == EPOCH


@on_virtual_loop
async def test_it_ends_when_it_has_answered() -> None:
    workers = StubWorkers()
    release = await workers.started("1")
    pending = ask(release)
    ending = asyncio.create_task(release.end())
    await asyncio.sleep(5)
    assert workers.alive == ["1"]
    workers.by_version["1"][0].answer()
    await ending
    assert pending.future.result().status == 200
    assert workers.alive == []


@on_virtual_loop
async def test_without_a_worker_nobody_is_waited_for() -> None:
    """It could not be started, or its model ends every worker."""
    workers = StubWorkers()
    release = await workers.started("1")
    pending = ask(release)
    workers.faults["1"] = [OSError(24, "Too many open files")] * 9
    workers.by_version["1"][0].die()
    await asyncio.sleep(0.05)
    await release.end()
    assert workers.loop.time() < 1.0
    assert isinstance(pending.future.exception(), Crashed)


@pytest.mark.parametrize("fails", [False, True], ids=["it ends", "it cannot be ended"])
@on_virtual_loop
async def test_its_folder_and_environment_stay_in_the_cache_until_it_has_ended(tmp_path: Path, fails: bool) -> None:
    folder, environment = tmp_path / "artifacts" / "wine", tmp_path / "environments" / "one"
    for place in (folder, environment / "bin", tmp_path / "in-use"):
        place.mkdir(parents=True)
    workers = StubWorkers()
    delivered = delivery("1", folder=str(folder), python=str(environment / "bin" / "python"))
    release = Release(delivered, workers.runtime, served_as="wine", replicas=1, limits=LIMITS)
    assert prune(tmp_path, 0).removed == ()
    if fails:

        async def fail() -> None:
            raise ZeroDivisionError

        release.pool.stop = fail  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await release.end()
    else:
        await release.end()
    assert {entry.path for entry in prune(tmp_path, 0).removed} == {folder, environment}
