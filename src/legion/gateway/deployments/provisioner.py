"""The process that brings models, as the gateway sees it: started with the first order, started again if it ends."""

from __future__ import annotations

import asyncio
import logging
import re

import msgspec

from legion.gateway.deployments.orders import OnEvent, Orders, Told
from legion.gateway.deployments.provisioner_process import Process, Start
from legion.gateway.supervision import supervise
from legion.provisioning_messages import MAX_LINE, Cancel, Failure, Mark, Notice, Registered, Request

_logger = logging.getLogger("legion.gateway")

# Seconds before each new start; a life that lasts longer than the last of them is not short.
_BACKOFF = (0.5, 2.0, 5.0, 15.0, 30.0)
# After so many short lives in a row, those who wait are told.
_SHORT_LIVES = 3
# Every event begins with its type and its order, as msgspec writes them.
_ORDER = re.compile(rb'\{"type":"[a-z]{1,20}","id":(\d{1,18})[,}]')


class Provisioner:
    """Orders go out, events come back to whoever ordered.

    `start` begins a process; it is called from the running event loop, whose clock is the only one that counts here.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._orders = Orders()
        self._process: Process | None = None
        # Short lives in a row.
        self._short = 0
        self._keeper: asyncio.Task[None] | None = None
        self._decode = msgspec.json.Decoder(Notice).decode

    @property
    def pid(self) -> int | None:
        """The process, or None while there is none."""
        return None if self._process is None else self._process.pid

    def order(self, model: str, on_event: OnEvent, *, env: str, follow: float | None, known: str | None) -> int:
        """Bring this model; every event goes to `on_event` until `cancel`. Returns the order's number."""
        number = self._orders.add(model, on_event, env=env, follow=follow, known=known)
        if self._keeper is None:
            self._keeper = supervise("provisioner", self._live, backoff=_BACKOFF)
        self._send_due()
        return number

    def cancel(self, number: int) -> None:
        """No more events of this order."""
        if self._orders.remove(number):
            self._send(Cancel(number))
        self._send_due()

    def mark(self, registered: Registered, reason: str | None) -> None:
        """Let the registry know that this version was not taken, and why, or that it was."""
        self._send(Mark(registered, reason))

    async def stop(self) -> None:
        """End the process and all that it started."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def _send(self, request: Request) -> None:
        # A mark is not worth keeping for a later process, and a cancelled order is not sent to it.
        if self._process is not None:
            self._process.send(msgspec.json.encode(request) + b"\n")

    def _send_due(self) -> None:
        if self._process is not None:
            for order in self._orders.due():
                self._send(order)

    async def _live(self) -> None:
        """One life of the process, and what follows from its end."""
        clock = asyncio.get_running_loop().time
        began = clock()
        how = await self._run()
        self._short = 0 if clock() - began > _BACKOFF[-1] else self._short + 1
        _logger.warning("the provisioner %s", how)
        self._tell(self._orders.ended())
        if self._short >= _SHORT_LIVES:
            self._tell(self._orders.unreachable(f"the provisioner {how}; see why in the gateway's log"))

    async def _run(self) -> str:
        """Start a process and listen until it ends; returns how it ended."""
        try:
            process = await self._start()
        except OSError as error:
            return f"cannot be started ({error.strerror})"
        except Exception:
            _logger.exception("the provisioner cannot be started")
            return "cannot be started"
        self._process = process
        try:
            self._send_due()
            async for line in process:
                self._take(line)
                self._send_due()
        except Exception:
            _logger.exception("the provisioner cannot be read and is ended")
        finally:
            self._process = None
            process.kill()
            code = await process.wait()
        return f"ended (exit code {code})"

    def _take(self, line: bytes) -> None:
        """One line, whatever it holds."""
        try:
            event: Notice = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _logger.error("the provisioner's answer cannot be read (%s): %r", error, line[:200])
            found = _ORDER.match(line)
            if found is None:
                return
            size = f"is larger than {MAX_LINE >> 20} MiB" if len(line) > MAX_LINE else f"cannot be read ({error})"
            event = Failure(int(found[1]), f"what the provisioner brought {size}; pack the model again", "refused")
        self._tell(self._orders.hear(event))

    def _tell(self, told: Told) -> None:
        for on_event, event in told:
            try:
                on_event(event)
            except Exception:
                # What one deployment runs into must not reach the others.
                _logger.exception("the %s of order %d was not taken in", type(event).__name__.lower(), event.id)
