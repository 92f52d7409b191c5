"""The process that brings models, as the gateway sees it: started with the first order, started again if it ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from legion.provisioning_messages import Cancel, Delivery, Event, Failure, Mark, Order, Registered, Request

_logger = logging.getLogger("legion.gateway")

# A plan holds the signature and an example, which may be large.
_LINE = 256 * 1024 * 1024
_BACKOFF = (0.5, 2.0, 5.0, 15.0, 30.0)

OnEvent = Callable[[Event], None]


class Provisioner:
    """Orders go out, events come back to whoever ordered."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._ids = itertools.count(1)
        self._orders: dict[int, tuple[Order, OnEvent]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._decode = msgspec.json.Decoder(Event).decode

    @property
    def pid(self) -> int | None:
        """The process, or None while there is none."""
        return None if self._process is None else self._process.pid

    def order(self, model: str, on_event: OnEvent, *, env: str, follow: float | None, known: str | None) -> int:
        """Bring this model; every event goes to `on_event` until `cancel`. Returns the order's number."""
        order = Order(next(self._ids), model, env, follow, known)
        self._orders[order.id] = (order, on_event)
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())
        else:
            self._send(order)
        return order.id

    def cancel(self, number: int) -> None:
        """No more events of this order."""
        if self._orders.pop(number, None) is not None:
            self._send(Cancel(number))

    def mark(self, registered: Registered, reason: str | None) -> None:
        """Let the registry know that this version was not taken, and why, or that it was."""
        self._send(Mark(registered, reason))

    async def stop(self) -> None:
        """End the process and all that it started."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def _send(self, request: Request) -> None:
        # What cannot be sent now is sent when the process is there again; a mark is not worth keeping.
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")

    async def _keep(self) -> None:
        for tries in itertools.count():
            try:
                await self._run()
            except OSError as error:
                _logger.error("the provisioner cannot be started (%s)", error.strerror)
            delay = _BACKOFF[min(tries, len(_BACKOFF) - 1)]
            _logger.warning("the provisioner ended and is started again in %g s", delay)
            await asyncio.sleep(delay)

    async def _run(self) -> None:
        """One life of the process."""
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "legion.provision",
            str(self._cache),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE,
        )
        assert process.stdout is not None
        try:
            for order, _ in list(self._orders.values()):
                self._send(order)
            async for line in process.stdout:
                self._take(self._decode(line))
        finally:
            self._process = None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _take(self, event: Event) -> None:
        found = self._orders.get(event.id)
        if found is None:
            return
        order, on_event = found
        if isinstance(event, (Delivery, Failure)):
            if order.follow is None:
                del self._orders[event.id]
            elif isinstance(event, Delivery) or event.kind != "outside":
                # Should the process be started again, it need not bring this again.
                self._orders[event.id] = (msgspec.structs.replace(order, known=event.key or order.known), on_event)
        on_event(event)
