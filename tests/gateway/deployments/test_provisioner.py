"""The gateway's side of the provisioner against a process that says what the test wants, and dies when it wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from virtual_loop import run

from legion.gateway.deployments.provisioner import Provisioner
from legion.provisioning_messages import (
    MAX_LINE,
    Bringing,
    Cancel,
    Delivery,
    Event,
    Failure,
    Mark,
    Notice,
    Order,
    Progress,
    Reach,
    Registered,
    Request,
)
from legion.wire import Plan

PLAN = Plan("wine", "1.0.0-1", "/x", "gppi")
WINE = "models:/wine@champion"


class FakeProcess:
    """One life: `attend` is called with each request and answers with `say`, or ends it with `kill`."""

    def __init__(self, pid: int, attend: Callable[[FakeProcess, Request], None]) -> None:
        self.pid = pid
        self.requests: list[Request] = []
        self._attend = attend
        self._lines: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._decode = msgspec.json.Decoder(Request).decode
        self._ended = asyncio.Event()

    def send(self, line: bytes) -> None:
        assert line.endswith(b"\n")
        request = self._decode(line)
        self.requests.append(request)
        self._attend(self, request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (line := await self._lines.get()) is not None:
            if isinstance(line, Exception):
                raise line
            yield line

    def kill(self) -> None:
        self._ended.set()
        self._lines.put_nowait(None)

    async def wait(self) -> int:
        await self._ended.wait()
        return -9

    def say(self, line: bytes | Notice | Exception) -> None:
        self._lines.put_nowait(line if isinstance(line, bytes | Exception) else msgspec.json.encode(line))


class World:
    """Starts fake processes. `poison` models end the process; all others are delivered after `takes` seconds."""

    def __init__(self, *poison: str, takes: float = 0.0) -> None:
        self.poison = set(poison)
        self.takes = takes
        self.lives: list[FakeProcess] = []
        self.fault: Exception | None = None
        self.heard: list[tuple[str, Event]] = []
        self.provisioner = Provisioner(self.start)

    async def start(self) -> FakeProcess:
        if self.fault is not None:
            raise self.fault
        self.lives.append(FakeProcess(1000 + len(self.lives), self.attend))
        return self.lives[-1]

    def attend(self, process: FakeProcess, request: Request) -> None:
        if isinstance(request, Order):
            asyncio.get_running_loop().call_later(self.takes, self.bring, process, request)

    def bring(self, process: FakeProcess, order: Order) -> None:
        if order.model in self.poison:
            process.kill()
        else:
            process.say(Delivery(order.id, order.model, PLAN, "/python"))

    def kill(self) -> None:
        self.lives[-1].kill()

    def order(self, model: str, *, follow: float | None = None, known: str | None = None) -> int:
        return self.provisioner.order(
            model, lambda event: self.heard.append((model, event)), env="auto", follow=follow, known=known
        )

    def events(self, model: str) -> list[Event]:
        return [event for name, event in self.heard if name == model]

    def answers(self) -> dict[str, str]:
        return {name: type(event).__name__ for name, event in self.heard if isinstance(event, Delivery | Failure)}


def simulate(world: World, scenario: Callable[[World], object], seconds: float = 600) -> World:
    async def main() -> None:
        scenario(world)
        await asyncio.sleep(seconds)
        await world.provisioner.stop()
        assert world.provisioner.pid is None

    run(main)
    return world


def test_what_is_ordered_is_brought_by_one_process() -> None:
    world = simulate(World(), lambda world: [world.order("a"), world.order("b")])
    assert world.answers() == {"a": "Delivery", "b": "Delivery"}
    assert len(world.lives) == 1


def test_marks_and_cancels_go_to_the_process() -> None:
    def scenario(world: World) -> None:
        loop = asyncio.get_running_loop()
        number = world.order(WINE, follow=2.0)
        loop.call_later(1, world.provisioner.mark, Registered("wine", "1"), "broken")
        loop.call_later(2, world.provisioner.cancel, number)
        loop.call_later(3, lambda: world.lives[0].say(Progress(number, "late")))

    world = simulate(World(), scenario)
    assert world.lives[0].requests[1:] == [Mark(Registered("wine", "1"), "broken"), Cancel(1)]
    assert [type(event) for event in world.events(WINE)] == [Delivery]


def test_a_process_that_ends_is_started_again_with_what_was_ordered() -> None:
    def scenario(world: World) -> None:
        world.order("followed", follow=2.0)
        world.order("once")
        asyncio.get_running_loop().call_later(100, world.kill)

    world = simulate(World(), scenario)
    assert len(world.lives) == 2
    # What was delivered is known, and what was wanted once is not wanted again.
    orders = [request for request in world.lives[1].requests if isinstance(request, Order)]
    assert len(orders) == len(world.lives[1].requests)
    assert [(order.model, order.known) for order in orders] == [("followed", "followed")]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Segmentation fault",
        b"\xff\xfe\x00",
        b"{}",
        b"[" * 100_000,
        b'{"type":"delivery","id":9',
        b'{"type":"unheard-of","id":9}',
        b"x" * (MAX_LINE + 1),
        msgspec.json.encode(Progress(12345, "an order that nobody made")),
    ],
    ids=lambda line: repr(line[:24]),
)
def test_no_line_ends_the_keeper(line: bytes) -> None:
    def scenario(world: World) -> None:
        asyncio.get_running_loop().call_later(0.5, lambda: world.lives[0].say(line))
        world.order("a")

    world = simulate(World(takes=1.0), scenario)
    assert world.answers() == {"a": "Delivery"}
    assert len(world.lives) == 1


def test_a_delivery_that_is_too_long_or_cannot_be_read_fails_its_own_order() -> None:
    class Odd(World):
        def bring(self, process: FakeProcess, order: Order) -> None:
            super().bring(process, order) if order.model == "good" else process.say(
                b'{"type":"delivery","id":%d,"key":"%s' % (order.id, b"k" * (MAX_LINE if order.model == "big" else 5))
            )

    world = simulate(Odd(), lambda world: [world.order(name) for name in ("big", "cut", "good")])
    assert world.answers() == {"big": "Failure", "cut": "Failure", "good": "Delivery"}
    failure = world.events("big")[0]
    assert isinstance(failure, Failure)
    assert "larger than 16 MiB" in failure.reason
    assert len(world.lives) == 1


def test_a_fault_while_reading_starts_another_process() -> None:
    def scenario(world: World) -> None:
        asyncio.get_running_loop().call_later(0.5, lambda: world.lives[0].say(ValueError("a chunk")))
        world.order("a")

    world = simulate(World(takes=1.0), scenario)
    assert world.answers() == {"a": "Delivery"}
    assert len(world.lives) == 2


def test_a_listener_that_fails_costs_nobody_else() -> None:
    def fail(event: Event) -> None:
        raise RuntimeError("not taken")

    def scenario(world: World) -> None:
        world.provisioner.order("a", fail, env="auto", follow=None, known=None)
        world.order("b")

    world = simulate(World(), scenario)
    assert world.answers() == {"b": "Delivery"}
    assert len(world.lives) == 1


def test_an_order_that_the_process_dies_of_is_refused_by_name() -> None:
    world = simulate(World("bad"), lambda world: world.order("bad"))
    assert len(world.lives) == 4
    assert world.lives[3].requests == []
    failure = world.events("bad")[-1]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.id) == ("refused", 1)
    assert "bringing bad ended the provisioner 3 times" in failure.reason


@pytest.mark.parametrize("takes", [0.0, 100.0])
def test_of_many_orders_only_the_culprit_is_refused(takes: float) -> None:
    """Even where the others take so long that they are worked on whenever the process ends."""

    class Quick(World):
        def attend(self, process: FakeProcess, request: Request) -> None:
            if isinstance(request, Order):
                delay = 1.0 if request.model in self.poison else self.takes
                asyncio.get_running_loop().call_later(delay, self.bring, process, request)

    world = simulate(
        Quick("bad", takes=takes), lambda world: [world.order(name) for name in ("a", "b", "bad", "c", "d")], 3600
    )
    good = dict.fromkeys("abcd", "Delivery")
    assert world.answers() == {**good, "bad": "Failure"}
    assert len(world.lives) <= 5


def test_a_version_that_the_process_dies_of_does_not_end_the_following() -> None:
    """It is refused with its version, and the next one that the alias means is brought."""
    meant = ["1"]

    class Registry(World):
        def bring(self, process: FakeProcess, order: Order) -> None:
            number = meant[0]
            if number == order.known:
                process.say(Reach(order.id, None))
                asyncio.get_running_loop().call_later(1.0, self.bring, process, order)
                return
            registered = Registered("wine", number)
            process.say(Bringing(order.id, number, "sha256:x", registered))
            if number == "2":
                process.say(Progress(order.id, "fetching"))
                asyncio.get_running_loop().call_later(0.1, process.kill)
            else:
                process.say(Delivery(order.id, number, PLAN, "/python", registered=registered))
                order = msgspec.structs.replace(order, known=number)
                asyncio.get_running_loop().call_later(1.0, self.bring, process, order)

    def scenario(world: World) -> None:
        world.order(WINE, follow=1.0)
        asyncio.get_running_loop().call_later(10, meant.__setitem__, 0, "2")
        asyncio.get_running_loop().call_later(100, meant.__setitem__, 0, "3")

    world = simulate(Registry(), scenario)
    found = [event for event in world.events(WINE) if isinstance(event, Delivery | Failure)]
    assert [(type(event).__name__, event.key) for event in found] == [
        ("Delivery", "1"),
        ("Failure", "2"),
        ("Delivery", "3"),
    ]
    assert found[1].registered == Registered("wine", "2")
    assert found[1].digest == "sha256:x"
    assert len(world.lives) == 4


def test_deaths_that_are_far_apart_are_not_counted_together() -> None:
    def scenario(world: World) -> None:
        world.order(WINE, follow=1.0)
        for at in range(100, 1100, 100):
            asyncio.get_running_loop().call_later(at, world.kill)

    world = simulate(World(), scenario, 1200)
    assert len(world.lives) == 11
    assert {type(event) for event in world.events(WINE)} == {Delivery}


@pytest.mark.parametrize("fault", [OSError(12, "no memory"), RuntimeError("odd")])
def test_who_waits_is_told_that_there_is_no_process(fault: Exception) -> None:
    def scenario(world: World) -> None:
        world.fault = fault
        world.order("a")
        asyncio.get_running_loop().call_later(60, setattr, world, "fault", None)

    world = simulate(World(), scenario)
    away, back, delivery = world.events("a")
    assert isinstance(away, Reach)
    assert away.reason is not None
    assert "cannot be started" in away.reason
    assert back == Reach(1, None)
    assert isinstance(delivery, Delivery)
