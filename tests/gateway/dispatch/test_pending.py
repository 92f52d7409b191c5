"""A request is settled once: by its answer, by a refusal, or by its caller, who may leave while it waits."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from virtual_loop import on_virtual_loop

from legion import wire
from legion.gateway.dispatch.pending import Crashed, Left, Pending, Receive, TooLate
from stub_worker import StubWorker


def request(receive: Receive | None = None) -> Pending:
    return Pending(wire.Call(wire.MLFLOW, b"{}"), asyncio.get_running_loop().create_future(), receive, 0.0)


class Caller:
    """What an ASGI server says of a caller: nothing, until a message is `told`."""

    def __init__(self) -> None:
        self.message: asyncio.Future[MutableMapping[str, Any]] = asyncio.get_running_loop().create_future()
        self.asked = 0

    async def receive(self) -> MutableMapping[str, Any]:
        self.asked += 1
        return await self.message

    def told(self, what: str) -> None:
        self.message.set_result({"type": what})


@on_virtual_loop
async def test_the_first_outcome_stays() -> None:
    answered, refused = request(), request()
    answered.settle(wire.Reply(200, b"first"))
    answered.settle(wire.Reply(200, b"second"))
    answered.fail(Left())
    refused.fail(TooLate())
    refused.fail(Crashed())
    refused.settle(wire.Reply(200, b""))
    assert answered.future.result().body == b"first"
    assert isinstance(refused.future.exception(), TooLate)


@on_virtual_loop
async def test_a_call_that_was_not_executed_in_time_is_late() -> None:
    pending = request()
    pending.settle(wire.Reply(504, b"", late=True))
    assert isinstance(pending.future.exception(), TooLate)


@on_virtual_loop
async def test_a_worker_that_has_not_begun_is_told() -> None:
    pending, worker = request(), StubWorker()
    pending.worker, pending.number = worker, 7
    pending.fail(Left())
    pending.fail(Left())
    assert worker.dropped == [7]
    assert isinstance(pending.future.exception(), Left)


@on_virtual_loop
async def test_a_worker_that_has_answered_is_not_told() -> None:
    pending, worker = request(), StubWorker()
    pending.worker, pending.number = worker, 7
    pending.settle(wire.Reply(200, b""))
    pending.fail(Left())
    assert worker.dropped == []


@on_virtual_loop
async def test_a_caller_who_leaves_while_waiting_is_noticed() -> None:
    caller = Caller()
    pending = request(caller.receive)
    pending.watch()
    pending.watch()
    await asyncio.sleep(1)
    assert not pending.future.done()
    caller.told("http.disconnect")
    with pytest.raises(Left):
        await pending.future
    assert caller.asked == 1


@on_virtual_loop
async def test_whatever_else_a_caller_says_is_no_leave() -> None:
    caller = Caller()
    pending = request(caller.receive)
    pending.watch()
    caller.told("http.request")
    await asyncio.sleep(1)
    assert not pending.future.done()


@on_virtual_loop
async def test_nobody_watches_once_it_is_settled() -> None:
    """The test fails where the watching task is left."""
    caller, other = Caller(), Caller()
    pending, settled = request(caller.receive), request(other.receive)
    pending.watch()
    await asyncio.sleep(1)
    pending.settle(wire.Reply(200, b""))
    settled.settle(wire.Reply(200, b""))
    settled.watch()
    await asyncio.sleep(1)
    assert (caller.asked, other.asked) == (1, 0)


@on_virtual_loop
async def test_a_caller_whose_connection_says_when_it_leaves_is_not_watched() -> None:
    pending = request()
    pending.watch()
    assert pending.watcher is None
