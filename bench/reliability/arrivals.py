"""Open-loop load: requests that arrive when they are due, whether or not earlier ones have been answered.

    python arrivals.py PORT RATE SECONDS DEADLINE LEAVE OUT

Arrival times are drawn beforehand (a Poisson process), and latency counts from the time a request was due, so a
server that stalls cannot slow down the load and hide its stall. Each request takes an idle connection or opens
another. With a positive LEAVE every client disconnects after that many seconds without an answer. One record per
request is written to OUT. `run` starts this as a process and reads the records.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import probes
import uvloop

# What took the place of a status where there was no answer.
NO_ANSWER, LEFT = -1, -2
_START = 0.2  # seconds until the first arrival
# Requests ask with values from here on; those of callers.py with smaller ones.
FIRST = 1_000_001
_HEAD = (
    b"POST /models/probe/invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n"
)


class Arrival(msgspec.Struct, frozen=True, array_like=True):
    """One request: when it was due, when the load generator got to it, and when it ended (monotonic clock, seconds).

    `value` is what it asked with, `own` whether it was answered with that value. `retry_after` is the header's value
    in seconds, None without that header.
    """

    due: float
    sent: float
    came: float
    status: int
    value: int
    own: bool = False
    retry_after: float | None = None

    @property
    def latency(self) -> float:
        """Seconds from when it was due to its end."""
        return self.came - self.due

    @property
    def refused(self) -> bool:
        """Whether it was answered, but not with a prediction."""
        return self.status > 0 and self.status != 200


@contextmanager
def running(
    port: int, out: Path, *, rate: float, seconds: float, deadline: float, leave: float = 0.0
) -> Iterator[subprocess.Popen[bytes]]:
    """The load as a process, ended with the block; wait for it and `read` what it found."""
    command = [sys.executable, __file__, *map(str, (port, rate, seconds, deadline, leave, out))]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run(port: int, out: Path, *, rate: float, seconds: float, deadline: float, leave: float = 0.0) -> list[Arrival]:
    """`rate` requests per second for so many seconds; returns when the last is answered or past its deadline."""
    with running(port, out, rate=rate, seconds=seconds, deadline=deadline, leave=leave) as process:
        assert process.wait(seconds + 2 * deadline + 60) == 0, "the load generator failed"
    return read(out)


def read(out: Path) -> list[Arrival]:
    """The records, in the order of arrival."""
    decode = msgspec.json.Decoder(Arrival).decode
    with out.open("rb") as lines:
        return sorted((decode(line) for line in lines), key=lambda one: one.due)


def schedule(rate: float, seconds: float, seed: int = 1) -> list[float]:
    """Arrival times in seconds from the start: `rate * seconds` of them, with exponentially distributed gaps."""
    chance, count = random.Random(seed), round(rate * seconds)
    gaps = [chance.expovariate(1) for _ in range(count)]
    # Scaled, so that exactly the wanted number arrives in the wanted time.
    scale, now, times = seconds / max(sum(gaps), 1e-9), 0.0, []
    for gap in gaps:
        now += gap * scale
        times.append(now)
    return times


class _Client(asyncio.Protocol):
    """One connection; it has one request at a time."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._leaving: asyncio.TimerHandle | None = None
        self.value = 0  # of the request that is not answered yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def ask(self, value: int, leave: float) -> None:
        assert self._transport is not None
        self.value, self._answer = value, b""
        body = probes.body(value)
        self._transport.write(_HEAD % len(body) + body)
        if leave:
            self._leaving = asyncio.get_running_loop().call_later(leave, self._leave)

    def _leave(self) -> None:
        assert self._transport is not None
        value, self.value = self.value, 0
        if value:
            # Half of them close the connection, half reset it.
            (self._transport.close if value % 2 else self._transport.abort)()
            self._load.ended(value, LEFT)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator or not self.value:
            return
        first, *lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        if len(body) < int(headers.get(b"content-length", 0)):
            return
        value, self.value = self.value, 0
        if self._leaving is not None:
            self._leaving.cancel()
        status = int(first.split()[1])
        retry_after = float(headers[b"retry-after"]) if b"retry-after" in headers else None
        self._load.ended(value, status, own=status == 200 and _asked(body) == value, retry_after=retry_after)
        if headers.get(b"connection") == b"close":
            assert self._transport is not None
            self._transport.close()
        else:
            self._load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        with suppress(ValueError):
            self._load.idle.remove(self)
        if self.value:
            self._load.ended(self.value, NO_ANSWER)
            self.value = 0


def _fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    loop.default_exception_handler(context)
    os._exit(1)


def _asked(body: bytes) -> object:
    """The value in a prediction of the probe; None where there is none."""
    with suppress(ValueError, KeyError, TypeError, IndexError):
        return json.loads(body)["predictions"][0]["a"]
    return None


class _Load:
    def __init__(self, port: int, leave: float) -> None:
        self.idle: list[_Client] = []
        self.arrivals: list[Arrival] = []
        self._port, self._leave = port, leave
        self._open: dict[int, tuple[float, float]] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    def begin(self, value: int, due: float) -> None:
        """A request is due."""
        self._open[value] = due, time.monotonic()
        if self.idle:
            self.idle.pop().ask(value, self._leave)
            return
        task = asyncio.get_running_loop().create_task(self._connect(value))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, value: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", self._port)
        except OSError:
            self.ended(value, NO_ANSWER)
            return
        client.ask(value, self._leave)

    def ended(self, value: int, status: int, *, own: bool = False, retry_after: float | None = None) -> None:
        """A request was answered, or never will be."""
        # One that is late has been recorded already.
        if (begun := self._open.pop(value, None)) is not None:
            self.arrivals.append(Arrival(*begun, time.monotonic(), status, value, own, retry_after))

    async def run(self, rate: float, seconds: float, deadline: float) -> None:
        """All arrivals, then at most the deadline for the last answers."""
        # A fault of this program must not pass for one of the server.
        asyncio.get_running_loop().set_exception_handler(_fail)
        start = time.monotonic() + _START
        for number, offset in enumerate(schedule(rate, seconds), FIRST):
            due = start + offset
            while (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            self.begin(number, due)
        end = time.monotonic() + deadline
        while self._open and time.monotonic() < end:
            await asyncio.sleep(0.01)
        for value in list(self._open):
            self.ended(value, NO_ANSWER)


def main(port: str, rate: str, seconds: str, deadline: str, leave: str, out: str) -> None:
    """Run the load and write down what was found."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = _Load(int(port), float(leave))
    uvloop.run(load.run(float(rate), float(seconds), float(deadline)))
    with Path(out).open("wb") as file:
        for arrival in load.arrivals:
            file.write(msgspec.json.encode(arrival) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
