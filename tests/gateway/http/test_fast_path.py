"""Answers that are written past uvicorn: what a caller has not taken yet is held, and no more is put behind it."""

from __future__ import annotations

import pytest
from stub_gateway import PATH, StubGateway, run, serving
from stub_server import Caller, request

from legion.gateway.limits import MIB

LARGE = 8 * MIB


async def slow_caller(stub: StubGateway) -> Caller:
    """One who has not taken the large answer to its request."""
    caller = await stub.http.connect(small_buffer=True)
    caller.send(request(b"1", path=PATH))
    await stub.posted()
    stub.reply(LARGE)
    await stub.http.until(lambda it: it.buffered)
    return caller


def test_a_large_answer_is_held_until_its_caller_has_taken_it() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await slow_caller(stub)
            assert stub.budget.held > LARGE
            assert len((await caller.answer()).body) > LARGE
            await stub.at_rest()

    run(scenario())


def test_it_is_held_no_longer_when_its_caller_leaves() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await slow_caller(stub)
            caller.abort()
            await stub.at_rest()

    run(scenario())


def test_answers_that_nobody_reads_do_not_pile_up() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await slow_caller(stub)
            for count in range(20):
                caller.send(request(b"%d" % count, path=PATH))
            for _ in range(20):
                await stub.http.connect()
            assert len(stub.worker.posted) == 1
            assert stub.budget.held < LARGE + MIB
            assert len((await caller.answer()).body) > LARGE
            for count in range(20):
                await stub.posted(count + 2)
                stub.reply()
                assert (await caller.answer()).status == 200
            await stub.at_rest()

    run(scenario())


@pytest.mark.parametrize("status", [204, 205, 299, 304, 418, 499, 599])
def test_an_answer_of_any_status_is_one_answer(status: int) -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await stub.http.connect()
            for count, replied in enumerate((status, 200)):
                caller.send(request(b"1", path=PATH))
                await stub.posted(count + 1)
                stub.reply(8, replied)
                answer = await caller.answer()
                assert answer.status == replied
                # A client reads no body of such an answer, whatever its length says.
                assert bool(answer.body) == (replied not in {204, 205, 304})
            await stub.at_rest()

    run(scenario())


def test_a_caller_who_leaves_is_not_answered() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await stub.http.connect()
            caller.send(request(b"1", path=PATH))
            await stub.posted()
            caller.abort()
            await stub.at_rest()
            assert [seen.status for seen in stub.seen] == [499]
            stub.reply()

    run(scenario())
