"""Callers who never stop and check every answer: a process of its own, beside what it calls.

    python callers.py PORT PATH CALLERS PAUSE KEEP OUT

Each caller keeps a connection (with KEEP 0: opens one for each request), asks, waits for the answer, pauses, asks
again. When standard input ends, each finishes what it has asked, and one record a request is written to OUT.
`started` runs it, `read` reads the records.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import probes

# No answer at all, by how: these stand where a status would.
NOT_CONNECTED, CLOSED, CUT, LATE = -1, -2, -3, -4
_PATIENCE = 90.0  # seconds; the gateway itself answers 504 after 60
_BETWEEN = 0.02  # seconds before a caller without an answer connects again
_HEAD = b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One request: when it was sent and when its answer was there (monotonic clock, seconds), its status (or how
    there was none), whether the answer was to this very request, and the version that gave it."""

    sent: float
    came: float
    status: int
    value: int
    own: bool
    version: int | None

    @property
    def failed(self) -> bool:
        """Whether the caller got anything but his own answer."""
        return self.status != 200 or not self.own


class Load:
    """A running load; `calls` are there when it has ended."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self._process = process
        self._out = out
        self.calls: list[Call] = []

    def end(self) -> list[Call]:
        """Let every caller finish, and read what they saw."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
            assert self._process.wait(_PATIENCE + 30) == 0, "the callers failed"
            self.calls = read(self._out)
        return self.calls


@contextmanager
def started(
    port: int, out: Path, *, path: str | None = None, count: int = 8, pause: float = 0.01, keep: bool = True
) -> Iterator[Load]:
    """So many callers at once; the block begins when each has had an answer, and ends with them.

    Without `keep` each request has a connection of its own.
    """
    path = path or f"/models/{probes.NAME}/invocations"
    command = [sys.executable, __file__, str(port), path, str(count), str(pause), str(int(keep)), str(out)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n", "the callers did not start"
        load = Load(process, out)
        yield load
        load.end()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def read(out: Path) -> list[Call]:
    """The records, in the order of their answers."""
    decode = msgspec.json.Decoder(Call).decode
    with out.open("rb") as lines:
        return [decode(line) for line in lines]


class _Callers:
    def __init__(self, port: int, path: str, count: int, pause: float, keep: bool) -> None:
        self.calls: list[Call] = []
        self.answered: set[int] = set()
        self.ended = asyncio.Event()
        self._port, self._path, self._count, self._pause = port, path.encode(), count, pause
        self._connection = b"" if keep else b"connection: close\r\n"

    async def call(self, number: int) -> None:
        """One caller; he asks with values that nobody else asks with."""
        value = number
        streams = None
        while not self.ended.is_set():
            if streams is None:
                try:
                    streams = await asyncio.open_connection("127.0.0.1", self._port)
                except OSError:
                    now = time.monotonic()
                    self.calls.append(Call(now, now, NOT_CONNECTED, value, False, None))
                    await asyncio.sleep(_BETWEEN)
                    continue
            value += self._count
            call, stays = await self._ask(*streams, value)
            self.calls.append(call)
            if not stays:
                streams[1].close()
                streams = None
            if call.status > 0:
                self.answered.add(number)
            await asyncio.sleep(self._pause if call.status > 0 else _BETWEEN)
        if streams is not None:
            streams[1].close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, value: int) -> tuple[Call, bool]:
        """The request's record, and whether the connection can be used again."""
        body = probes.body(value)
        sent = time.monotonic()
        begun = False
        try:
            async with asyncio.timeout(_PATIENCE):
                writer.write(_HEAD % (self._path, len(body), self._connection) + body)
                first = await reader.readuntil(b"\r\n")
                begun = True
                rest = await reader.readuntil(b"\r\n\r\n")
                lines = dict(line.lower().split(b": ", 1) for line in rest.strip().split(b"\r\n"))
                answer = await reader.readexactly(int(lines[b"content-length"]))
        except TimeoutError:
            return Call(sent, time.monotonic(), LATE, value, False, None), False
        except asyncio.IncompleteReadError as error:
            return Call(sent, time.monotonic(), CUT if begun or error.partial else CLOSED, value, False, None), False
        except OSError:
            return Call(sent, time.monotonic(), CUT if begun else CLOSED, value, False, None), False
        came, status = time.monotonic(), int(first.split()[1])
        own, version = False, None
        with suppress(ValueError, KeyError, TypeError, IndexError):
            (row,) = json.loads(answer)["predictions"]
            own, version = row["a"] == value, int(row["v"])
        return Call(sent, came, status, value, own, version), lines.get(b"connection") != b"close"


async def _run(callers: _Callers, count: int) -> None:
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(callers.call(number)) for number in range(1, count + 1)]
    while len(callers.answered) < count:
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    callers.ended.set()
    await asyncio.gather(*tasks)


def main(port: str, path: str, count: str, pause: str, keep: str, out: str) -> None:
    """Call until standard input ends."""
    callers = _Callers(int(port), path, int(count), float(pause), keep == "1")
    asyncio.run(_run(callers, int(count)))
    with Path(out).open("wb") as file:
        for call in callers.calls:
            file.write(msgspec.json.encode(call) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
