"""One worker process as its parent sees it: start it, send it a batch, stop it.

The worker is the leader of its own process group, so whatever the model started goes with it; it holds the
other end of a pipe that nobody writes to, so it ends when this process ends, however that happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from legion import wire
from legion.disk.cache import Hold, environment_of, hold_all
from legion.errors import VerificationError, WorkerError

_SCRIPT = Path(__file__).parent / "worker" / "__main__.py"
_GRACE = 5.0

OnReplies = Callable[[wire.Replies], None]
OnPiece = Callable[[wire.Piece], None]


class _Frames(asyncio.Protocol):
    """Cuts the byte stream into frames and hands each to `on_frame`."""

    def __init__(self, on_frame: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._needed = wire.HEADER.size

    def data_received(self, data: bytes) -> None:
        size = wire.HEADER.size
        if not self._buffer and len(data) >= size and wire.HEADER.unpack_from(data)[0] == len(data) - size:
            self._on_frame(data[size:])
            return
        self._buffer += data
        while len(self._buffer) >= size:
            end = wire.HEADER.unpack_from(self._buffer)[0] + size
            if len(self._buffer) < end:
                return
            body = bytes(memoryview(self._buffer)[size:end])
            del self._buffer[:end]
            self._on_frame(body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost()


class Replica:
    """A worker process that has reported ready. Make one with `Replica.start`."""

    def __init__(self) -> None:
        self.report = wire.Report()
        self.process: asyncio.subprocess.Process | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._lifeline = -1
        self._holds: list[Hold] = []
        self._decode = wire.decoder(list[wire.Reply]).decode
        self._decode_piece = wire.decoder(wire.Piece).decode
        # For answers that come in pieces, which only those get who set it.
        self.on_piece: OnPiece | None = None
        self._first: asyncio.Future[bytes] | None = asyncio.get_running_loop().create_future()
        self._waiting: deque[OnReplies] = deque()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return 0 if self.process is None else self.process.pid

    @classmethod
    async def start(cls, plan: wire.Plan, python: Path, *, start_timeout: float = 300.0) -> Replica:
        """Start a worker under this interpreter and wait until its model is loaded, proven and warm.

        Raises WorkerError with the reason where it does not get that far within so many seconds, and
        VerificationError where its answers are not the golden ones.
        """
        replica = cls()
        try:
            await replica._spawn(plan, python)
            assert replica._first is not None
            body = await asyncio.wait_for(replica._first, start_timeout)
            replica._first = None
            replica.report = wire.decoder(wire.Report).decode(body)
        except TimeoutError:
            await replica.kill()
            raise WorkerError(
                f"{plan.name} {plan.version} was not ready within {start_timeout:g} s; "
                "see the log above, or give it longer"
            ) from None
        except BaseException:
            await replica.kill()
            raise
        if replica.report.error is not None:
            await replica.kill()
            kind = VerificationError if replica.report.refused else WorkerError
            raise kind(f"{plan.name} {plan.version} cannot be served: {replica.report.error}")
        return replica

    async def _spawn(self, plan: wire.Plan, python: Path) -> None:
        loop = asyncio.get_running_loop()
        # Nobody removes them from the cache while the worker may read them.
        self._holds = hold_all(Path(plan.folder), environment_of(python))
        if not Path(plan.folder).is_dir():
            raise WorkerError(f"{plan.name} {plan.version} is no longer in {plan.folder}; deploy that version anew")
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        try:
            self.process = await asyncio.create_subprocess_exec(
                str(python),
                str(_SCRIPT),
                str(theirs.fileno()),
                str(lifeline),
                pass_fds=(theirs.fileno(), lifeline),
                stdin=asyncio.subprocess.DEVNULL,
                # What a model prints is a log line, not an answer.
                stdout=sys.stderr.fileno(),
                stderr=sys.stderr.fileno(),
                start_new_session=True,
                env=_environment(python),
            )
        except OSError as error:
            ours.close()
            raise WorkerError(f"{python} cannot be started ({error.strerror}); choose another --env") from None
        finally:
            theirs.close()
            os.close(lifeline)
        ours.setblocking(False)
        self._transport, _ = await loop.create_unix_connection(lambda: _Frames(self._frame, self._closed), sock=ours)
        self._transport.write(wire.frame(plan))

    def _frame(self, body: bytes) -> None:
        if self._first is not None:
            if not self._first.done():
                self._first.set_result(body)
        elif wire.is_map(body):
            if self.on_piece is not None:
                self.on_piece(self._decode_piece(body))
        elif self._waiting:
            self._waiting.popleft()(self._decode(body))

    def _closed(self) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_exception(WorkerError("the model's process ended while it was loading; see the log above"))
        if not self.lost.done():
            self.lost.set_result(None)

    def post(self, batch: Sequence[wire.Call], on_replies: OnReplies) -> None:
        """Send a batch; `on_replies` is called once with as many replies, or never if `lost` comes first.

        Batches are answered in the order they were posted.
        """
        assert self._transport is not None
        self._waiting.append(on_replies)
        self._transport.write(wire.frame(batch))

    def allow(self, message: wire.Allow) -> None:
        """Let an answer that comes in pieces go on, or end it; nothing where the process has ended."""
        if self._transport is not None:
            self._transport.write(wire.frame(message))

    async def send(self, batch: Sequence[wire.Call]) -> wire.Replies:
        """Send a batch and wait for its replies. Raises WorkerError if the process ends before."""
        answered: asyncio.Future[wire.Replies] = asyncio.get_running_loop().create_future()

        def settle(replies: wire.Replies) -> None:
            if not answered.done():
                answered.set_result(replies)

        self.post(batch, settle)
        await asyncio.wait((answered, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            raise WorkerError("the model's process ended while it was predicting; see the log above")
        return answered.result()

    async def stop(self) -> None:
        """Close the connection, give the worker a moment to end, then make sure that its whole group has."""
        if self._transport is not None:
            self._transport.close()
        if self.process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), _GRACE)
        await self.kill()

    async def kill(self) -> None:
        """End the worker's process group at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        while self._holds:
            self._holds.pop().close()
        if self._first is not None and self._first.done() and not self._first.cancelled():
            self._first.exception()


def ask(
    plan: wire.Plan, python: Path, calls: Sequence[wire.Call], *, timeout: float = 300.0
) -> tuple[wire.Report, wire.Replies]:
    """Start a worker, send it the calls one at a time, stop it. Raises WorkerError."""

    async def run() -> tuple[wire.Report, wire.Replies]:
        replica = await Replica.start(plan, python, start_timeout=timeout)
        try:
            replies: wire.Replies = []
            for call in calls:
                replies += await asyncio.wait_for(replica.send([call]), timeout)
            return replica.report, replies
        except TimeoutError:
            raise WorkerError(f"the model did not answer within {timeout:g} s") from None
        finally:
            await replica.stop()

    return asyncio.run(run())


def _environment(python: Path) -> dict[str, str]:
    """The worker's environment: this one's, with one thread a numeric library unless the user chose.

    Batches are small and replicas share the cores, so a pool of threads in each costs more than it gives. Packages
    of conda may be programs, which a model finds by name: those of its own environment come first.
    """
    defaults = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    prefix = python.parent.parent
    if not (prefix / "conda-meta").is_dir():
        return {**defaults, **os.environ}
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    return {**defaults, **os.environ, "PATH": path, "CONDA_PREFIX": str(prefix)}
