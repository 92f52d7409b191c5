"""One child of `legion up` as its parent sees it: start it, pass on its lines, ask its health, end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from legion.errors import OutsideError
from legion.stack.plan import Child

_KEEPER = Path(__file__).with_name("keeper.py")
_LONGEST_LINE = 64 * 1024
_ASK_EVERY = 0.1
_ASK_PATIENCE = 5.0

OnLine = Callable[[str], None]


class KeptProcess:
    """A process and all that it starts, under a keeper that ends them when this process ends. Use `start`."""

    def __init__(self, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self._process = process
        self._lifeline = lifeline
        self._reading: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: dict[str, str],
        folder: Path | None = None,
        *,
        on_line: OnLine,
        on_output: OnLine | None = None,
    ) -> KeptProcess:
        """`on_line` gets each line of its log; so does what it writes to standard output, unless `on_output` does.

        Raises OutsideError where it cannot be started.
        """
        theirs, ours = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_KEEPER), str(theirs), *command),
                pass_fds=(theirs,),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT if on_output is None else asyncio.subprocess.PIPE,
                env=environment,
                cwd=folder,
                # Ctrl-C on the terminal is for `legion up`, which ends its children in its own order.
                start_new_session=True,
            )
        except OSError as error:
            os.close(ours)
            raise OutsideError(f"{command[0]} cannot be started ({error.strerror})") from None
        finally:
            os.close(theirs)
        kept = cls(process, ours)
        streams = ((process.stdout, on_output or on_line), (process.stderr, on_line))
        kept._reading = [asyncio.create_task(_lines(stream, take)) for stream, take in streams if stream is not None]
        return kept

    @property
    def pid(self) -> int:
        """The process id of its keeper, which leads its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def ended(self) -> int:
        """Wait until it and all that it started have ended and every line is passed on; its exit code."""
        code = await self._process.wait()
        # A keeper that was killed from outside leaves its group; a keeper that ended by itself leaves nobody.
        self._kill()
        await asyncio.wait(self._reading, timeout=_ASK_PATIENCE)
        for task in self._reading:
            task.cancel()
        return code

    async def stop(self, grace: float) -> bool:
        """Ask it to end, wait so many seconds, then kill what is left. False where it had to be killed."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._process.wait()), grace)
            return True
        except TimeoutError:
            return False
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End it and all that it started at once."""
        # The keeper ends the others first, those outside its group too, and then itself.
        self._drop_lifeline()
        try:
            await asyncio.wait_for(asyncio.shield(self._process.wait()), _ASK_PATIENCE)
        except TimeoutError:
            self._kill()
        await self.ended()

    def _kill(self) -> None:
        self._drop_lifeline()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _drop_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


async def _lines(stream: asyncio.StreamReader, take: OnLine) -> None:
    """Hand on what a stream holds line by line; a line without end is cut."""
    rest = b""
    while chunk := await stream.read(_LONGEST_LINE):
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            whole.append(rest)
            rest = b""
        for line in whole:
            take(line.decode("utf-8", "replace").rstrip("\r"))
    if rest:
        take(rest.decode("utf-8", "replace"))


async def answering(child: Child, process: KeptProcess, patience: float) -> int | None:
    """Ask until it answers 200, has ended, or so many seconds have passed; its last answer, None without one."""
    answer = None
    end = asyncio.get_running_loop().time() + patience
    while process.running and asyncio.get_running_loop().time() < end:
        answer = await status(child.health)
        if answer == 200:
            return answer
        await asyncio.sleep(_ASK_EVERY)
    return answer


async def status(url: str) -> int | None:
    """The status that GET of this http address gives, None where nobody answers."""
    parts = urlsplit(url)
    with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(_ASK_PATIENCE):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                return int((await reader.readline()).split()[1])
            finally:
                writer.close()
    return None
