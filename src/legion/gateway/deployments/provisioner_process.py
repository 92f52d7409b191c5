"""The provisioner's process as the gateway holds it: lines in, lines out, ended with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from legion.provisioning_messages import MAX_LINE

_CHUNK = 256 * 1024
# Bytes of orders that may wait for a process that reads none.
_UNREAD = 8 * 1024 * 1024


class Process(Protocol):
    """One life of the provisioner. A simulation gives its own."""

    @property
    def pid(self) -> int:
        """The process id."""

    def send(self, line: bytes) -> None:
        """Hand over one line, with its line break; returns at once. Lost where the process has ended."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The lines that it writes, until it ends. Of one that is too long only the beginning comes."""

    def kill(self) -> None:
        """End it and all that it started."""

    async def wait(self) -> int:
        """Its exit code, once it has ended; minus the signal's number where a signal ended it."""


Start = Callable[[], Awaitable[Process]]


class ProvisionerProcess:
    """`python -m legion.provision`, in a process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, cache: Path) -> ProvisionerProcess:
        """Start one over this cache folder. Raises OSError."""
        return await cls.run(sys.executable, "-m", "legion.provision", str(cache))

    @classmethod
    async def run(cls, *command: str) -> ProvisionerProcess:
        """Start another command that speaks as the provisioner does. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, line: bytes) -> None:
        """Hand over one line; a process that reads none of them is ended."""
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():
            return
        stdin.write(line)
        if stdin.transport.get_write_buffer_size() > _UNREAD:
            self.kill()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The lines without their line breaks; a longer one than MAX_LINE is cut to one byte more than that."""
        assert self._process.stdout is not None
        line = bytearray()
        while chunk := await self._process.stdout.read(_CHUNK):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                line += end[: MAX_LINE + 1 - len(line)]
                yield bytes(line)
                line.clear()
            line += rest[: MAX_LINE + 1 - len(line)]

    def kill(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await self._process.wait()
