"""What gets no more requests: one release is kept warm for a while, all others finish and end."""

from __future__ import annotations

import asyncio

import pytest
from stub_runtime import StubWorkers, ask, delivery
from virtual_loop import on_virtual_loop

from legion.gateway.deployments.standby import Standby


@on_virtual_loop
async def test_a_release_is_kept_warm_for_so_long() -> None:
    workers, standby = StubWorkers(), Standby()
    release = await workers.started("1")
    standby.keep(release, 60.0)
    await asyncio.sleep(59)
    assert standby.release is release
    assert workers.alive == ["1"]
    await asyncio.sleep(2)
    assert standby.release is None
    assert workers.alive == []


@on_virtual_loop
async def test_a_release_that_is_not_to_be_kept_ends_at_once() -> None:
    workers, standby = StubWorkers(), Standby()
    standby.keep(await workers.started("1"), 0.0)
    assert standby.release is None
    await asyncio.sleep(1)
    assert workers.alive == []


@on_virtual_loop
async def test_one_is_kept_at_most() -> None:
    workers, standby = StubWorkers(), Standby()
    standby.keep(await workers.started("1"), 60.0)
    await asyncio.sleep(50)
    second = await workers.started("2")
    standby.keep(second, 60.0)
    await asyncio.sleep(59)
    # The first one's time is not the second one's.
    assert standby.release is second
    assert workers.alive == ["2"]
    await standby.stop()


@on_virtual_loop
async def test_what_is_taken_stays_warm() -> None:
    workers, standby = StubWorkers(), Standby()
    release = await workers.started("1")
    standby.keep(release, 60.0)
    assert standby.take() is release
    assert standby.release is None
    await asyncio.sleep(100)
    assert workers.alive == ["1"]
    standby.let_go(release)
    await standby.stop()


@on_virtual_loop
async def test_it_has_this_very_version_in_so_many_processes_while_they_are_there() -> None:
    workers, standby = StubWorkers(), Standby()
    assert not standby.has(delivery("1"), 2)
    standby.keep(await workers.started("1", replicas=2), 60.0)
    assert standby.has(delivery("1"), 2)
    assert not standby.has(delivery("1"), 1)
    assert not standby.has(delivery("2"), 2)
    workers.seconds = 10.0
    for worker in workers.by_version["1"]:
        worker.die()
    await asyncio.sleep(1)
    assert not standby.has(delivery("1"), 2)
    await standby.stop()


@on_virtual_loop
async def test_what_is_let_go_answers_first() -> None:
    workers, standby = StubWorkers(), Standby()
    release = await workers.started("1")
    pending = ask(release)
    standby.let_go(release)
    await asyncio.sleep(5)
    assert workers.alive == ["1"]
    workers.by_version["1"][0].answer()
    await asyncio.sleep(1)
    assert pending.future.result().status == 200
    assert workers.alive == []


@on_virtual_loop
async def test_stopping_waits_for_all_that_end() -> None:
    workers, standby = StubWorkers(), Standby()
    workers.ending = 4.0
    standby.let_go(await workers.started("1"))
    await asyncio.sleep(1)
    standby.keep(await workers.started("2"), 60.0)
    await standby.stop()
    assert workers.loop.time() == 5.0
    assert workers.alive == []
    assert standby.release is None


@on_virtual_loop
async def test_a_release_that_cannot_be_ended_is_logged_and_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    workers, standby = StubWorkers(), Standby()
    release = await workers.started("1")

    async def fail() -> None:
        await stop()
        raise ZeroDivisionError("nobody thought of this")

    stop, release.pool.stop = release.pool.stop, fail  # type: ignore[method-assign]
    standby.let_go(release)
    standby.keep(await workers.started("2"), 60.0)
    await standby.stop()
    assert workers.alive == []
    assert "wine 1 (models:/wine/1) could not be ended" in caplog.text
    assert "nobody thought of this" in caplog.text
