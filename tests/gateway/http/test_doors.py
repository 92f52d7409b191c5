"""What holds for every prediction, by whichever door it comes in."""

from __future__ import annotations

import asyncio

import pytest
from stub_gateway import DOORS, Door, StubGateway, run, serving

from legion.gateway.limits import MIB


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    """Each way in."""
    return DOORS[request.param]


async def answered(stub: StubGateway, door: Door, body: bytes = b"1") -> set[int]:
    """The status of a request that the worker answers."""
    before = sum(map(len, stub.worker.posted))
    asked = asyncio.ensure_future(door(stub, body))
    await stub.posted(before + 1)
    stub.reply()
    return (await asked).statuses


def test_an_answer(door: Door) -> None:
    async def scenario() -> None:
        async with serving() as stub:
            assert await answered(stub, door) == {200}
            await stub.at_rest()
            (seen,) = stub.seen
            assert (seen.status, seen.choice.variant, seen.reply.rows) == (200, stub.deployment.variants[0], 1)  # type: ignore[union-attr]
            assert stub.deployment.release.meter.statuses == {200: 1}  # type: ignore[union-attr]

    run(scenario())


@pytest.mark.parametrize("encoding", ["br", "gzip, br"])
def test_an_unknown_content_encoding(door: Door, encoding: str) -> None:
    async def scenario() -> None:
        async with serving() as stub:
            assert 415 in (await door(stub, b"1", encoding)).statuses
            assert stub.worker.posted == []
            assert [seen.status for seen in stub.seen] == [415]
            await stub.at_rest()

    run(scenario())


def test_a_body_over_the_limit(door: Door) -> None:
    async def scenario() -> None:
        async with serving(max_body=1000) as stub:
            assert 413 in (await door(stub, bytes(1001))).statuses
            assert stub.worker.posted == []
            assert await answered(stub, door) == {200}
            await stub.at_rest()

    run(scenario())


def test_a_body_that_the_budget_can_never_hold(door: Door) -> None:
    async def scenario() -> None:
        async with serving(memory=1000) as stub:
            outcome = await door(stub, bytes(1001))
            # A gRPC message takes its own share before it is known what it asks for.
            assert outcome.statuses & {413, 503}
            assert stub.worker.posted == []
            await stub.at_rest()

    run(scenario())


def test_no_room_in_the_budget(door: Door) -> None:
    async def scenario() -> None:
        async with serving(memory=MIB) as stub:
            stub.budget.add(MIB - 1000)
            outcome = await door(stub, bytes(2000))
            assert (outcome.statuses, outcome.retry_after) == ({503}, "1")
            assert stub.worker.posted == []
            stub.budget.give(MIB - 1000)
            assert await answered(stub, door, bytes(2000)) == {200}
            await stub.at_rest()

    run(scenario())


def test_a_body_is_held_until_its_answer_is_written(door: Door) -> None:
    async def scenario() -> None:
        async with serving() as stub:
            asked = asyncio.ensure_future(door(stub, bytes(5000)))
            await stub.posted()
            assert stub.budget.held >= 5000
            stub.reply()
            await asked
            await stub.at_rest()

    run(scenario())


def test_a_model_that_does_not_answer_in_time(door: Door) -> None:
    async def scenario() -> None:
        async with serving(timeout=0.2) as stub:
            outcome = await door(stub, b"1")
            assert 504 in outcome.statuses
            assert outcome.retry_after == "1"
            await stub.at_rest()

    run(scenario())


def test_a_full_queue(door: Door) -> None:
    async def scenario() -> None:
        async with serving(queue=1) as stub:
            first = asyncio.ensure_future(door(stub, b"1"))
            await stub.posted()
            # The worker is busy with it: one more may wait.
            second = asyncio.ensure_future(door(stub, b"2"))
            while not stub.deployment.release.pool.waiting:  # type: ignore[union-attr]
                await asyncio.sleep(0)
            refused = await door(stub, b"3")
            assert 429 in refused.statuses
            assert int(refused.retry_after) >= 1  # type: ignore[arg-type]
            stub.reply()
            await stub.posted(2)
            stub.reply()
            assert [(await one).statuses for one in (first, second)] == [{200}, {200}]
            await stub.at_rest()

    run(scenario())


def test_no_version_to_answer_with(door: Door) -> None:
    async def scenario() -> None:
        async with serving(answers=False) as stub:
            outcome = await door(stub, b"1")
            assert (outcome.statuses, outcome.retry_after) == ({503}, "1")
            await stub.at_rest()

    run(scenario())


@pytest.mark.parametrize("door", [DOORS["ASGI"], DOORS["gRPC"]], ids=["ASGI", "gRPC"])
def test_a_body_that_does_not_arrive_in_time(door: Door) -> None:
    async def scenario() -> None:
        async with serving(timeout=0.2) as stub:
            outcome = await door(stub, b"1", rest=asyncio.sleep(3))
            assert 408 in outcome.statuses
            assert stub.worker.posted == []
            await stub.at_rest()

    run(scenario())
