"""A worker process that is none: it speaks the wire as a real one does, over a transport that is none, and goes wrong
as it was drawn to. What the gateway makes of it is the real `Replica`'s business."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
from scenario import Model

from legion import wire
from legion.replica import Replica

_WORK = wire.decoder(wire.Work).decode
_NOTICE = msgspec.msgpack.Decoder(wire.Notice).decode
# Replies that are made within so many seconds share a frame, as in the real worker.
_TOGETHER = 0.002

# How a start can go wrong, and what a worker that runs may come to.
STARTS = ("error", "refused", "garbage", "huge", "empty", "silent", "gone", "no files", "odd error")
TROUBLES = ("crash", "exit", "hang", "slow", "lie")
LIES = ("too many", "wrong number", "none", "status", "header", "length", "garbage", "piece")


class Fate(msgspec.Struct, frozen=True):
    """What is in store for one worker; `after` counts calls, `delay` is in seconds."""

    delay: float = 0.05
    start: str = "well"
    trouble: str = "none"
    lie: str = ""
    after: int = 0


def fate(rng: random.Random, prone: float) -> Fate:
    """Draw one."""
    delay = rng.choice((0.02, 0.1, 1.0))
    if rng.random() >= prone:
        return Fate(delay)
    if rng.random() < 0.4:
        return Fate(delay, start=rng.choice(STARTS))
    return Fate(delay, trouble=rng.choice(TROUBLES), lie=rng.choice(LIES), after=rng.randrange(6))


class _Stream:
    """An answer in pieces, as its maker sees it."""

    def __init__(self, number: int, body: bytes) -> None:
        self.number = number
        self.body = body
        self.pieces = 3 + number * 7 % 20
        self.told = 0
        self.allowed = wire.PIECES_AHEAD
        self.left = False


class Witness(Protocol):
    """Who is told what workers do."""

    def executed(self, worker: FakeWorker, call: wire.Call) -> None:
        """A call is begun."""

    def killed(self, worker: FakeWorker) -> None:
        """It is ended by force while it runs."""


class FakeWorker:
    """One process. `version` is what it answers with; `dead` and `asked_to_stop` say how it ended.

    `obstinate` workers execute whatever they were given, and answer a frame when they are through with all of it.
    """

    obstinate = False

    def __init__(self, model: Model, version: str, what: Fate, witness: Witness) -> None:
        self.model = model
        self.version = version
        self.fate = what
        # The model that it serves, and the deployment.
        self.reference = self.owner = ""
        self.dead = False
        self.asked_to_stop = False
        self.lied = False
        self.progress = 0.0
        self.deliver: Callable[[bytes], None] = lambda data: None
        self.hang_up: Callable[[], None] = lambda: None
        self._witness = witness
        self._loop = asyncio.get_running_loop()
        self._calls: deque[tuple[int, wire.Call]] = deque()
        self._works: deque[int] = deque()
        self._done: list[wire.Reply] = []
        self._done_since = 0.0
        self._seen = 0
        self._busy = False
        self._planned = False
        self._streams: dict[int, _Stream] = {}
        self._stream_numbers = itertools.count(1)

    @property
    def working(self) -> bool:
        """Whether calls are with it."""
        return bool(self._calls or self._busy)

    def begin(self) -> None:
        """Load the model, and report."""
        self._loop.call_later(self.fate.delay, self._report)
        if self.fate.trouble == "exit":
            self._loop.call_later(self.fate.delay + 0.3 * (1 + self.fate.after), self.die)

    def _report(self) -> None:
        start = self.fate.start
        if start == "gone":
            self.die()
        elif start == "garbage":
            self._send(b"\x00\x00\x00\x03abc")
        elif start == "empty":
            self._send(b"\x00\x00\x00\x00")
        elif start == "huge":
            self._send(b"\xff\xff\xff\xf0" + b"x" * 64)
        elif start != "silent":
            error = {"error": "it does not load", "refused": "its answers are others"}.get(start)
            self._send(wire.frame(wire.Report(error=error, refused=start == "refused", merges=self.model.merges)))

    def receive(self, data: bytes) -> None:
        """What the gateway writes."""
        if self.dead or data[wire.HEADER.size :][:1] == b"" or not self._planned:
            self._planned = True
            return
        if wire.is_map(data[wire.HEADER.size :]):
            self._take_notice(_NOTICE(data[wire.HEADER.size :]))
            return
        work = _WORK(data[wire.HEADER.size :])
        self._calls.extend(enumerate(work.calls, work.first))
        self._works.append(len(work.calls))
        if not self._busy:
            self.progress = self._loop.time()
            self._next()

    def _take_notice(self, notice: wire.Notice) -> None:
        if isinstance(notice, wire.Drop):
            for number, call in self._calls:
                if number == notice.call:
                    call.deadline = 1e-9
        elif (stream := self._streams.get(notice.stream)) is not None:
            stream.left = stream.left or not notice.pieces
            stream.allowed += notice.pieces or 1
            self._tell(stream)

    def _next(self) -> None:
        """Begin what is next: a merged batch, or one call."""
        if self.dead or not self._works:
            return
        many = self._works[0] if self.model.merges else 1
        begun = [self._calls.popleft() for _ in range(many)]
        self._works[0] -= many
        whole = not self._works[0]
        if whole:
            self._works.popleft()
        now = self._loop.time()
        live = [call for _, call in begun if call.deadline >= now or self.obstinate]
        for call in live:
            self._witness.executed(self, call)
        if self._strike(len(begun), begun[0][0]):
            return
        self._busy = True
        if live and live[0].body.startswith(b"s"):
            self._loop.call_later(self.model.seconds / 10, self._begin_stream, begun, whole)
            return
        if any(call.body.startswith(b"-") for call in live):
            self._loop.call_later(self.model.seconds / 2, self.die)
            return
        took = self.model.seconds + self.model.each * (len(live) if self.model.merges else 0) if live else 0.0
        if self.fate.trouble == "slow" and self._seen > self.fate.after:
            took *= 20
        self._loop.call_later(took, self._finish, begun, took, whole)

    def _strike(self, calls: int, first: int) -> bool:
        """Whether what is in store for it comes now, and it works no more."""
        trouble, before = self.fate.trouble, self._seen
        self._seen += calls
        if not before <= self.fate.after < self._seen or trouble not in ("crash", "hang", "lie"):
            return False
        self._busy = True
        if trouble == "crash":
            self._loop.call_later(self.model.seconds / 2, self.die)
        elif trouble == "lie":
            self.lied = True
            self._loop.call_later(self.model.seconds, self._lie, first, calls)
        return True

    def _finish(self, begun: list[tuple[int, wire.Call]], took: float, whole: bool) -> None:
        if self.dead:
            return
        now = self._loop.time()
        if not self._done:
            self._done_since = now
        micros = int(took * 1e6)
        for _, call in begun:
            late = call.deadline < now - took and not self.obstinate
            self._done.append(
                wire.Reply(504, b"", late=True)
                if late
                else wire.Reply(200, b"%b/%b" % (call.body, self.version.encode()), rows=1, predict_us=micros)
            )
        slow = took >= _TOGETHER or now - self._done_since >= _TOGETHER
        if whole or (slow and not self.obstinate):
            self.progress = now
            done, self._done = self._done, []
            # What comes back at once waits until this is done.
            self._send(wire.frame(wire.Answers(begun[-1][0] + 1 - len(done), done)))
        self._busy = False
        self._next()

    def _begin_stream(self, begun: list[tuple[int, wire.Call]], whole: bool) -> None:
        if self.dead:
            return
        (number, call) = begun[0]
        stream = _Stream(next(self._stream_numbers), call.body)
        self._streams[stream.number] = stream
        self._done.append(wire.Reply(200, b"", stream=stream.number))
        self.progress = self._loop.time()
        done, self._done = self._done, []
        self._send(wire.frame(wire.Answers(number + 1 - len(done), done)))
        self._loop.call_later(self.model.seconds, self._tell, stream)
        self._busy = False
        self._next()

    def _tell(self, stream: _Stream) -> None:
        """Send the next piece, where it may, and come back for the one after."""
        if self.dead or stream.number not in self._streams or not stream.allowed:
            return
        stream.allowed -= 1
        last = stream.left or stream.told >= stream.pieces
        silent = self.fate.trouble == "hang" and stream.told == 2
        if silent and not stream.left:
            return
        self.progress = self._loop.time()
        body = b"" if stream.left else b"%b/%b/%d" % (stream.body, self.version.encode(), stream.told)
        stream.told += 1
        if last:
            del self._streams[stream.number]
        self._send(wire.frame(wire.Piece(stream.number, body, last=last)))
        self._loop.call_later(self.model.seconds, self._tell, stream)

    def _lie(self, first: int, calls: int) -> None:
        first -= len(self._done)
        replies = [*self._done, *(wire.Reply(200, b"0/lie") for _ in range(calls))]
        lies: dict[str, Any] = {
            "too many": lambda: wire.frame(
                wire.Answers(first, [*replies, *replies, *replies, wire.Reply(200, b"")] * 9)
            ),
            "wrong number": lambda: wire.frame(wire.Answers(first + 1, replies)),
            "none": lambda: wire.frame(wire.Answers(first, [])),
            "status": lambda: wire.frame(wire.Answers(first, [wire.Reply(99999, b"")])),
            "header": lambda: wire.frame(wire.Answers(first, [wire.Reply(200, b"", "a\r\nset-cookie: b")])),
            "length": lambda: b"\xff\xff\xff\xff" + b"x" * 100,
            "garbage": lambda: b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1",
            "piece": lambda: wire.frame(wire.Piece(5, b"x")),
        }
        self._send(lies[self.fate.lie]())

    def _send(self, data: bytes) -> None:
        if not self.dead:
            self.deliver(data)

    def die(self) -> None:
        """End, whatever is on the way."""
        if not self.dead:
            self.dead = True
            self.hang_up()


class FakeTransport(asyncio.Transport):
    """Between a replica and its fake worker; what is written arrives at once."""

    def __init__(self, worker: FakeWorker, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._worker = worker
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closed:
            self._worker.receive(bytes(data))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closed


class SimulatedReplica(Replica):
    """The real replica over a fake worker."""

    make: Callable[[wire.Plan], FakeWorker]

    def __init__(self) -> None:
        super().__init__()
        self.worker: FakeWorker | None = None

    @property
    def pid(self) -> int:
        return 0 if self.worker is None else id(self.worker) % 100_000

    async def _spawn(self, plan: wire.Plan, python: Path) -> None:
        self.worker = worker = type(self).make(plan)
        if worker.fate.start == "no files":
            raise OSError(24, "Too many open files")
        if worker.fate.start == "odd error":
            raise ZeroDivisionError("nobody thought of this")
        self._transport = transport = FakeTransport(worker, self._frames)
        self._frames.connection_made(transport)
        worker.deliver = lambda data: None if transport.is_closing() else self._frames.data_received(data)
        worker.hang_up = transport.close
        transport.write(wire.frame(plan))
        worker.begin()

    async def stop(self) -> None:
        if self.worker is not None:
            self.worker.asked_to_stop = True
        await super().stop()

    async def kill(self) -> None:
        await super().kill()
        if self.worker is not None and not self.worker.dead:
            self.worker._witness.killed(self.worker)
            self.worker.dead = True
