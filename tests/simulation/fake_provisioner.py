"""A provisioner process that is none: it brings versions of models that need not exist, and ends when it is told to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import msgspec

from legion.provisioning_messages import MAX_LINE, Cancel, Delivery, Order, Reach, Request
from legion.wire import Plan

_REQUEST = msgspec.json.Decoder(Request).decode
# Seconds to bring a model.
_FETCH = 0.2
# One line that is too long, about the first order.
_FLOOD = b'{"type":"delivery","id":1,' + b" " * MAX_LINE


class Shelf:
    """What each model reference means now, as the number of its version."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}

    def key(self, model: str) -> str:
        return f"{model}/{self.versions.setdefault(model, 1)}"


class FakeProvisioner:
    """One life of it."""

    _pids = itertools.count(1)

    def __init__(self, shelf: Shelf) -> None:
        self.pid = next(self._pids)
        self._shelf = shelf
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._orders: dict[int, Order] = {}
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    def send(self, line: bytes) -> None:
        request = _REQUEST(line)
        if isinstance(request, Order):
            self._orders[request.id] = request
            self._loop.call_later(_FETCH, self._look_first, request)
        elif isinstance(request, Cancel):
            self._orders.pop(request.id, None)

    def _look_first(self, order: Order) -> None:
        if order.known == self._shelf.key(order.model):
            self.write(msgspec.json.encode(Reach(order.id, None)) + b"\n")
        self._look(order.id, order.known)

    def _look(self, number: int, known: str | None) -> None:
        """Bring what the order wants, and look again where it follows."""
        order = self._orders.get(number)
        if order is None or self._ended:
            return
        key = self._shelf.key(order.model)
        if key != known:
            plan = Plan("model", key.rsplit("/", 1)[1], "/nowhere", "gppi")
            plan = msgspec.structs.replace(plan, entrypoint=order.model)
            self.write(msgspec.json.encode(Delivery(number, key, plan, "/nowhere/bin/python")) + b"\n")
        if order.follow is not None:
            self._loop.call_later(order.follow, self._look, number, key)

    def write(self, line: bytes) -> None:
        """Say something, which may be nonsense."""
        if not self._ended:
            self._lines.put_nowait(line)

    def flood(self) -> None:
        """Say far too much."""
        self.write(_FLOOD)

    def kill(self) -> None:
        if not self._ended:
            self._ended = True
            self._lines.put_nowait(None)

    async def wait(self) -> int:
        return -9

    async def _read(self) -> AsyncIterator[bytes]:
        while (line := await self._lines.get()) is not None:
            yield line

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._read()
