"""One worker process as its parent sees it: start it, send it a batch, stop it.

The worker is the leader of its own process group, so whatever the model started goes with it; it holds the
other end of a pipe that nobody writes to, so it ends when this process ends, however that happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from legion import wire
from legion.disk.cache import Hold, environment_of, hold_all
from legion.errors import VerificationError, WorkerError

_SCRIPT = Path(__file__).parent / "worker" / "__main__.py"
_GRACE = 5.0

_logger = logging.getLogger("legion.worker")

OnReplies = Callable[[wire.Replies], None]
OnPiece = Callable[[wire.Piece], None]


class _Frames(asyncio.Protocol):
    """Cuts the byte stream into frames and hands each to `on_frame`; one that is not as it should be ends it all."""

    def __init__(self, on_frame: Callable[[bytes], None], on_lost: Callable[[str | None], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._transport: asyncio.BaseTransport | None = None
        self._fault: str | None = None
        self.largest = wire.LARGEST_REPORT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return
        try:
            self._cut(data)
        except (wire.BadFrame, *wire.UNREADABLE) as fault:
            self._fault = str(fault)
            self._buffer.clear()
            assert isinstance(self._transport, asyncio.Transport)
            self._transport.abort()

    def _cut(self, data: bytes) -> None:
        size = wire.HEADER.size
        if not self._buffer and len(data) >= size and wire.HEADER.unpack_from(data)[0] == len(data) - size:
            self._on_frame(data[size:])
            return
        self._buffer += data
        while len(self._buffer) >= size:
            length = wire.HEADER.unpack_from(self._buffer)[0]
            if length > self.largest:
                raise wire.BadFrame(f"a frame of {length} bytes")
            end = length + size
            if len(self._buffer) < end:
                return
            body = bytes(memoryview(self._buffer)[size:end])
            del self._buffer[:end]
            self._on_frame(body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self._fault)


class Replica:
    """A worker process that has reported ready. Make one with `Replica.start`.

    What it sends goes to `on_replies` and, where an answer is streamed, to `on_piece`; set them before the first call.
    """

    def __init__(self) -> None:
        self.report = wire.Report()
        self.process: asyncio.subprocess.Process | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_replies: OnReplies | None = None
        self.on_piece: OnPiece | None = None
        self._transport: asyncio.Transport | None = None
        self._frames = _Frames(self._frame, self._closed)
        self._lifeline = -1
        self._holds: list[Hold] = []
        self._decode = wire.decoder(wire.Answers).decode
        self._decode_piece = wire.decoder(wire.Piece).decode
        self._first: asyncio.Future[bytes] | None = asyncio.get_running_loop().create_future()
        # Calls are numbered from 0.
        self._posted = 0
        self._answered = 0

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
            replica._frames.largest = wire.LARGEST_ANSWERS
            replica.report = wire.decoder(wire.Report).decode(body)
        except TimeoutError:
            await replica.kill()
            raise WorkerError(
                f"{plan.name} {plan.version} was not ready within {start_timeout:g} s; "
                "see the log above, or give it longer"
            ) from None
        except (wire.BadFrame, *wire.UNREADABLE) as error:
            await replica.kill()
            raise WorkerError(
                f"{plan.name} {plan.version} cannot be served: its worker did not report as it should ({error})"
            ) from None
        except OSError as error:
            await replica.kill()
            raise WorkerError(f"{plan.name} {plan.version} cannot be started ({error.strerror or error})") from None
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
        self._transport, _ = await loop.create_unix_connection(lambda: self._frames, sock=ours)
        self._transport.write(wire.frame(plan))

    def _frame(self, body: bytes) -> None:
        if self._first is not None:
            if self._first.done():
                raise wire.BadFrame("more than a report, before there was work")
            self._first.set_result(body)
        elif wire.is_map(body):
            if self.on_piece is not None:
                self.on_piece(self._decode_piece(body))
        else:
            self._take(self._decode(body))

    def _take(self, answers: wire.Answers) -> None:
        """Hand on replies to the calls that are next. Raises BadFrame for any others."""
        replies = answers.replies
        if answers.first != self._answered or not replies or self._answered + len(replies) > self._posted:
            where = f"{len(replies)} replies from call {answers.first} on"
            raise wire.BadFrame(f"{where}, where calls {self._answered} to {self._posted - 1} wait")
        self._answered += len(replies)
        if self.on_replies is not None:
            self.on_replies(replies)

    def _closed(self, fault: str | None) -> None:
        if fault is not None:
            _logger.error("worker %d is ended, since it sent what no worker sends: %s", self.pid, fault)
        if self._first is not None and not self._first.done():
            ended = WorkerError("the model's process ended while it was loading; see the log above")
            self._first.set_exception(ended if fault is None else wire.BadFrame(fault))
        if not self.lost.done():
            self.lost.set_result(None)

    def post(self, calls: Sequence[wire.Call]) -> int:
        """Send calls, and return the number of the first of them.

        `on_replies` gets as many replies, in their order and in one go or several, or fewer if `lost` comes first.
        """
        first = self._posted
        work = wire.frame(wire.Work(first, list(calls)))
        self._posted += len(calls)
        if self._transport is not None:
            self._transport.write(work)
        return first

    def drop(self, number: int) -> None:
        """Nobody waits for this call any more; its reply comes all the same."""
        if self._transport is not None:
            self._transport.write(wire.frame(wire.Drop(number)))

    def allow(self, message: wire.Allow) -> None:
        """Let an answer that comes in pieces go on, or end it; nothing where the process has ended."""
        if self._transport is not None:
            self._transport.write(wire.frame(message))

    async def send(self, calls: Sequence[wire.Call]) -> wire.Replies:
        """Send calls and wait for their replies, when nothing else was sent. Raises WorkerError if the process ends."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        replies: wire.Replies = []

        def take(part: wire.Replies) -> None:
            replies.extend(part)
            if len(replies) == len(calls) and not answered.done():
                answered.set_result(None)

        self.on_replies = take
        self.post(calls)
        await asyncio.wait((answered, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            raise WorkerError("the model's process ended while it was predicting; see the log above")
        return replies

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
