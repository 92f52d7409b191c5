"""Clients that never finish a request's head: a process of its own that holds their connections.

    python tricklers.py PORT COUNT

Each sends one byte per second, and connects again when it is disconnected or refused. Prints `ready` when all have
tried to connect; ends with its standard input, after printing how many connections it held on average.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_BETWEEN = 1.0  # seconds between bytes
_AGAIN = 0.1  # seconds until a client that was disconnected comes back
_HEAD = b"POST /models/probe/invocations HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: "


class Trickle:
    """Running tricklers; `held` is there when they have ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.held = 0.0

    def end(self) -> None:
        """Disconnect all."""
        said, _ = self._process.communicate(timeout=30)
        self.held = float(said)


@contextmanager
def started(port: int, count: int) -> Iterator[Trickle]:
    """So many tricklers; the block begins when all have tried to connect."""
    command = [sys.executable, __file__, str(port), str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", "the tricklers did not start"
        trickle = Trickle(process)
        yield trickle
        trickle.end()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Clients:
    def __init__(self, port: int) -> None:
        self._port = port
        self.tried = 0
        self.held = 0

    async def trickle(self) -> None:
        """One client, for ever."""
        first = True
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                reader = None
            self.tried += first
            first = False
            if reader is not None:
                self.held += 1
                await _send_slowly(reader, writer)
                self.held -= 1
            await asyncio.sleep(_AGAIN)


async def _send_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Byte by byte, until the server disconnects."""
    ended = asyncio.ensure_future(reader.read())
    try:
        writer.write(_HEAD)
        while not ended.done():
            await asyncio.wait((ended,), timeout=_BETWEEN)
            writer.write(b"x")
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)
        writer.close()


async def _run(port: int, count: int) -> float:
    clients = _Clients(port)
    tasks = [asyncio.ensure_future(clients.trickle()) for _ in range(count)]
    while clients.tried < count:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    held = [clients.held]
    while not closed.done():
        await asyncio.wait((closed,), timeout=0.1)
        held.append(clients.held)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return statistics.fmean(held)


def main(port: str, count: str) -> None:
    """Trickle until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(asyncio.run(_run(int(port), int(count))))


if __name__ == "__main__":
    main(*sys.argv[1:])
