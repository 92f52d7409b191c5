"""A worker process as its parent sees it: nothing that it sends is believed, and nothing of it is left in the end.

The process and the connection to it are none; what the process sends is written by hand.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from virtual_loop import on_virtual_loop

from legion import wire
from legion.disk.prune import prune
from legion.errors import LegionError, VerificationError, WorkerError
from legion.replica import Replica
from legion.wire import Allow, Answers, Call, Drop, Piece, Reply, Report, Work

REPORT = wire.frame(Report(merges=True, python_version="3.12"))


class Process:
    """What asyncio has for a process; this one ends when it is killed, or when `ended` is set."""

    def __init__(self, command: tuple[str, ...], options: dict[str, Any]) -> None:
        self.pid = 1_234_567
        self.command = command
        self.options = options
        self.ended = asyncio.Event()

    async def wait(self) -> int:
        await self.ended.wait()
        return 0


class Transport(asyncio.Transport):
    """One end of a connection; `written` has the frames that were sent."""

    def __init__(self, protocol: asyncio.Protocol, sock: socket.socket) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = self.aborted = False
        self._protocol = protocol
        self._sock = sock

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._sock.close()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()


class Machine:
    """Where workers are started. `told` has what `os.killpg` was called with; `fault` is what the next start raises."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "environments" / "one" / "bin" / "python"
        self.plan = wire.Plan("wine", "3", str(folder / "artifacts" / "wine"), "gppi")
        self.fault: Exception | None = None
        self.told: list[tuple[int, int]] = []
        self.process: Process
        self.transport: Transport
        self.protocol: asyncio.Protocol

    async def spawn(self, *command: str, **options: Any) -> Process:
        if self.fault is not None:
            raise self.fault
        self.process = Process(command, options)
        return self.process

    async def connect(self, factory: Callable[[], asyncio.Protocol], *, sock: socket.socket) -> Any:
        self.protocol = factory()
        self.transport = Transport(self.protocol, sock)
        self.protocol.connection_made(self.transport)
        return self.transport, self.protocol

    def killpg(self, group: int, number: int) -> None:
        self.told.append((group, number))
        if self.process.ended.is_set():
            raise ProcessLookupError
        self.process.ended.set()

    def starting(self, timeout: float = 5.0) -> asyncio.Task[Replica]:
        """A start that waits for the worker's report."""
        asyncio.get_running_loop().create_unix_connection = self.connect  # type: ignore[method-assign, assignment]
        return asyncio.create_task(Replica.start(self.plan, self.python, start_timeout=timeout))

    async def started(self) -> Replica:
        """A worker that has reported."""
        starting = self.starting()
        await turn()
        self.send(REPORT)
        return await starting

    def send(self, data: bytes) -> None:
        """What the worker writes, as it comes in."""
        self.protocol.data_received(data)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path)
    for folder in (Path(made.plan.folder), made.python.parent, tmp_path / "in-use"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", made.spawn)
    monkeypatch.setattr(os, "killpg", made.killpg)
    before = open_files()
    yield made
    assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


async def turn() -> None:
    """The loop's turn is over, and whatever was set off by it."""
    for _ in range(8):
        await asyncio.sleep(0)


def calls(count: int) -> list[Call]:
    return [Call(wire.MLFLOW, b"%d" % number) for number in range(count)]


def replies(count: int) -> list[Reply]:
    return [Reply(200, b"%d" % number) for number in range(count)]


class Listener:
    """Takes what a worker says in the way of answers."""

    def __init__(self, one: Replica) -> None:
        self.replies: list[Reply] = []
        self.pieces: list[Piece] = []
        one.on_replies = self.replies.extend
        one.on_piece = self.pieces.append


class TestStart:
    @on_virtual_loop
    async def test_it_is_ready_when_its_report_is_there(self, machine: Machine) -> None:
        starting = machine.starting()
        await turn()
        python, script, *descriptors = machine.process.command
        assert python == str(machine.python)
        assert Path(script).is_file()
        assert machine.process.options["pass_fds"] == tuple(map(int, descriptors))
        # It leads a group of its own, so that whatever it starts can be ended with it.
        assert machine.process.options["start_new_session"]
        assert machine.process.options["stdout"] == sys.stderr.fileno()
        assert machine.transport.written == [wire.frame(machine.plan)]
        assert not starting.done()
        machine.send(REPORT)
        one = await starting
        assert one.report == Report(merges=True, python_version="3.12")
        assert one.pid == machine.process.pid
        assert not one.lost.done()
        await one.kill()

    @on_virtual_loop
    async def test_a_report_may_come_byte_by_byte(self, machine: Machine) -> None:
        starting = machine.starting()
        await turn()
        for place in range(len(REPORT)):
            assert not starting.done()
            machine.send(REPORT[place : place + 1])
            await asyncio.sleep(0)
        one = await starting
        assert one.report.merges
        await one.kill()

    @pytest.mark.parametrize(
        ("report", "error"),
        [
            (Report(error="its answers are others", refused=True), VerificationError),
            (Report(error="its answers are others"), WorkerError),
        ],
    )
    @on_virtual_loop
    async def test_a_report_may_say_why_not(self, machine: Machine, report: Report, error: type[LegionError]) -> None:
        starting = machine.starting()
        await turn()
        machine.send(wire.frame(report))
        with pytest.raises(error, match=r"^wine 3 cannot be served: its answers are others$"):
            await starting
        assert machine.told == [(machine.process.pid, signal.SIGKILL)]

    @pytest.mark.parametrize(
        "data",
        [
            wire.frame(Answers(0, [Reply(200, b"")])),
            wire.frame(Work(0, [])),
            wire.frame(7),
            wire.frame({"merges": 7}),
            wire.HEADER.pack(0),
            wire.HEADER.pack(3) + b"abc",
            wire.HEADER.pack(4) + b"\xc1\xc1\xc1\xc1",
            wire.HEADER.pack(wire.LARGEST_REPORT + 1),
            b"\xff\xff\xff\xff",
            # Text that is none, and a nest without a bottom.
            wire.frame({"path": "x"}).replace(b"\xa1x", b"\xa1\xff"),
            wire.HEADER.pack(100_012) + b"\x81\xa7openapi\x81\xa1a" + b"\x91" * 100_000 + b"\xc0",
        ],
        ids=lambda data: repr(data[:12]),
    )
    @on_virtual_loop
    async def test_a_first_frame_that_is_no_report_is_named(self, machine: Machine, data: bytes) -> None:
        starting = machine.starting()
        await turn()
        machine.send(data)
        with pytest.raises(
            WorkerError, match=r"^wine 3 cannot be served: its worker did not report as it should \(.+\)$"
        ):
            await starting
        assert machine.told == [(machine.process.pid, signal.SIGKILL)]
        assert machine.transport.closed

    @on_virtual_loop
    async def test_a_report_that_does_not_come_in_time_is_not_waited_for(self, machine: Machine) -> None:
        with pytest.raises(WorkerError, match=r"^wine 3 was not ready within 5 s"):
            await machine.starting(5.0)
        assert asyncio.get_running_loop().time() == 5.0
        assert machine.told == [(machine.process.pid, signal.SIGKILL)]

    @on_virtual_loop
    async def test_a_process_that_ends_while_loading_is_not_waited_for(self, machine: Machine) -> None:
        starting = machine.starting()
        await turn()
        machine.send(REPORT[:-1])
        machine.transport.close()
        with pytest.raises(WorkerError, match="ended while it was loading"):
            await starting

    @on_virtual_loop
    async def test_an_interpreter_that_cannot_be_started_is_named(self, machine: Machine) -> None:
        machine.fault = FileNotFoundError(2, "No such file or directory")
        with pytest.raises(WorkerError, match=r"cannot be started \(No such file or directory\); choose another --env"):
            await machine.starting()

    @on_virtual_loop
    async def test_without_files_to_open_nothing_is_started(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def none(*_: object) -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(socket, "socketpair", none)
        with pytest.raises(WorkerError, match=r"^wine 3 cannot be started \(Too many open files\)$"):
            await machine.starting()

    @on_virtual_loop
    async def test_a_version_that_is_gone_from_the_cache_is_named(self, machine: Machine) -> None:
        Path(machine.plan.folder).rmdir()
        with pytest.raises(WorkerError, match=r"wine 3 is no longer in .*wine; deploy that version anew"):
            await machine.starting()

    @on_virtual_loop
    async def test_a_start_that_is_given_up_leaves_nothing(self, machine: Machine) -> None:
        starting = machine.starting()
        await turn()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert machine.told == [(machine.process.pid, signal.SIGKILL)]
        assert machine.transport.closed

    @pytest.mark.parametrize("conda", [True, False])
    @on_virtual_loop
    async def test_a_conda_environment_s_programs_come_first(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, conda: bool
    ) -> None:
        monkeypatch.setenv("PATH", "/usr/bin")
        if conda:
            (machine.python.parent.parent / "conda-meta").mkdir()
        one = await machine.started()
        path = machine.process.options["env"]["PATH"]
        assert path == (f"{machine.python.parent}:/usr/bin" if conda else "/usr/bin")
        await one.kill()

    @on_virtual_loop
    async def test_numeric_libraries_have_one_thread_unless_the_user_chose(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MKL_NUM_THREADS", "4")
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        one = await machine.started()
        env = machine.process.options["env"]
        assert (env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"]) == ("1", "4")
        await one.kill()


class TestFrames:
    @on_virtual_loop
    async def test_a_frame_may_be_cut_anywhere(self, machine: Machine) -> None:
        one = await machine.started()
        heard = Listener(one)
        sent = 0
        size = len(wire.frame(Answers(0, replies(3))))
        for cut in range(size + 1):
            one.post(calls(3))
            data = wire.frame(Answers(sent, replies(3)))
            sent += 3
            machine.send(data[:cut])
            machine.send(data[cut:])
            assert heard.replies == replies(3)
            heard.replies.clear()
        assert not machine.transport.closed
        await one.kill()

    @on_virtual_loop
    async def test_frames_may_come_byte_by_byte_or_many_at_once(self, machine: Machine) -> None:
        one = await machine.started()
        heard = Listener(one)
        one.post(calls(6))
        frames = [wire.frame(Answers(number, [Reply(200, b"%d" % number)])) for number in range(6)]
        for byte in b"".join(frames[:3]):
            machine.send(bytes([byte]))
        assert [reply.body for reply in heard.replies] == [b"0", b"1", b"2"]
        machine.send(b"".join(frames[3:]))
        assert [reply.body for reply in heard.replies] == [b"0", b"1", b"2", b"3", b"4", b"5"]
        await one.kill()

    @on_virtual_loop
    async def test_pieces_come_between_answers(self, machine: Machine) -> None:
        one = await machine.started()
        heard = Listener(one)
        one.post(calls(1))
        machine.send(
            wire.frame(Piece(1, b"a")) + wire.frame(Answers(0, replies(1))) + wire.frame(Piece(1, b"b", last=True))
        )
        assert heard.replies == replies(1)
        assert heard.pieces == [Piece(1, b"a"), Piece(1, b"b", last=True)]
        await one.kill()

    @pytest.mark.parametrize(
        ("data", "named"),
        [
            (wire.frame(Answers(1, replies(1))), "1 replies from call 1 on, where calls 0 to 2 wait"),
            (wire.frame(Answers(0, replies(4))), "4 replies from call 0 on, where calls 0 to 2 wait"),
            (wire.frame(Answers(0, [])), "0 replies from call 0 on"),
            (wire.frame(Answers(0, [Reply(99999, b"")])), "Expected `int` <= 599"),
            (wire.frame(Answers(0, [Reply(0, b"")])), "Expected `int` >= 200"),
            (wire.frame(Answers(0, [Reply(200, b"", "a\r\nset-cookie: b")])), "Expected `str` matching regex"),
            (wire.frame(Answers(0, [Reply(200, b"", "é")])), "Expected `str` matching regex"),
            (wire.frame(Answers(0, [Reply(200, b"", "a" * 257)])), "Expected `str` of length <= 256"),
            (wire.frame(Answers(0, [Reply(200, b"", predict_us=-1)])), "Expected `int` >= 0"),
            (wire.frame(Piece(1, b"", status=7)), "Expected `int` >= 200"),
            (wire.frame(Piece(1, b"", content_type="a\nb")), "Expected `str` matching regex"),
            (wire.frame(Allow(1, 1)), "missing required field `body`"),
            (wire.frame(Report()), "missing required field `stream`"),
            (wire.frame([0, [[200]]]), "Expected `array` of at least length 2"),
            (wire.HEADER.pack(3) + wire.frame(Answers(0, replies(1)))[4:7], "truncated"),
            (wire.HEADER.pack(4) + b"\x92\x00\x90\x00", "trailing"),
            (wire.HEADER.pack(0), "truncated"),
            (wire.HEADER.pack(4) + b"\xc1\xc1\xc1\xc1", "MessagePack data is malformed"),
            (wire.frame([0, [[200, b"", "x"]]]).replace(b"\xa1x", b"\xa1\xff"), "can't decode byte 0xff"),
            (wire.HEADER.pack(wire.LARGEST_ANSWERS + 1), f"a frame of {wire.LARGEST_ANSWERS + 1} bytes"),
            (b"\xff\xff\xff\xff" + b"x" * 100, "a frame of 4294967295 bytes"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    @pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
    @on_virtual_loop
    async def test_what_no_worker_sends_ends_it(
        self, machine: Machine, caplog: pytest.LogCaptureFixture, data: bytes, named: str, cut: bool
    ) -> None:
        one = await machine.started()
        heard = Listener(one)
        one.post(calls(3))
        if cut:
            for byte in data:
                machine.send(bytes([byte]))
        else:
            machine.send(data)
        # Nor is anything believed that comes after.
        machine.send(wire.frame(Answers(0, replies(3))))
        assert machine.transport.aborted
        assert not one.lost.done()
        await turn()
        assert one.lost.done()
        assert not heard.replies
        assert not heard.pieces
        assert f"worker {machine.process.pid} is ended, since it sent what no worker sends: " in caplog.text
        assert named in caplog.text
        await one.kill()

    @on_virtual_loop
    async def test_the_frames_before_a_bad_one_are_taken(self, machine: Machine) -> None:
        one = await machine.started()
        heard = Listener(one)
        one.post(calls(3))
        machine.send(wire.frame(Answers(0, replies(1))) + wire.frame(Answers(0, replies(1))))
        assert heard.replies == replies(1)
        assert machine.transport.aborted
        await one.kill()

    @pytest.mark.parametrize("data", [wire.frame(Answers(0, replies(1))), wire.frame(Piece(9, b""))])
    @on_virtual_loop
    async def test_a_frame_that_whoever_hears_it_finds_bad_ends_the_worker(self, machine: Machine, data: bytes) -> None:
        def refuse(_: object) -> None:
            raise wire.BadFrame("a stream that there is not")

        one = await machine.started()
        one.on_replies = one.on_piece = refuse
        one.post(calls(1))
        machine.send(data)
        await turn()
        assert one.lost.done()
        await one.kill()

    @on_virtual_loop
    async def test_the_largest_frame_is_waited_for(self, machine: Machine) -> None:
        one = await machine.started()
        machine.send(wire.HEADER.pack(wire.LARGEST_ANSWERS) + b"x")
        assert not machine.transport.aborted
        await one.kill()

    @pytest.mark.parametrize("together", [True, False])
    @on_virtual_loop
    async def test_before_there_is_work_a_worker_says_nothing_but_its_report(
        self, machine: Machine, together: bool
    ) -> None:
        starting = machine.starting()
        await turn()
        if together:
            machine.send(REPORT + REPORT)
        else:
            machine.send(REPORT)
            machine.send(REPORT)
        one = await starting
        await turn()
        assert one.lost.done()
        await one.kill()


class TestCalls:
    @on_virtual_loop
    async def test_calls_are_numbered_in_the_order_they_are_posted(self, machine: Machine) -> None:
        one = await machine.started()
        assert [one.post(calls(count)) for count in (2, 1, 3)] == [0, 2, 3]
        works = [wire.decoder(Work).decode(data[wire.HEADER.size :]) for data in machine.transport.written[1:]]
        assert works == [Work(0, calls(2)), Work(2, calls(1)), Work(3, calls(3))]
        await one.kill()

    @on_virtual_loop
    async def test_what_cannot_be_sent_was_not_posted(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        one = await machine.started()
        with monkeypatch.context() as patch:
            patch.setattr(wire, "MAX_FRAME", 10)
            with pytest.raises(ValueError, match="a frame holds at most 4 GiB"):
                one.post([Call(wire.MLFLOW, b"x" * 100)])
        assert one.post(calls(1)) == 0
        await one.kill()

    @on_virtual_loop
    async def test_the_worker_is_told_of_streams_and_of_who_left(self, machine: Machine) -> None:
        one = await machine.started()
        one.allow(Allow(4, 2))
        one.drop(7)
        decode = msgspec.msgpack.Decoder(wire.Notice).decode
        assert [decode(data[4:]) for data in machine.transport.written[1:]] == [Allow(4, 2), Drop(7)]
        await one.kill()

    @on_virtual_loop
    async def test_to_a_worker_that_has_ended_nothing_is_said(self, machine: Machine) -> None:
        one = await machine.started()
        await one.kill()
        one.post(calls(1))
        one.allow(Allow(4, 2))
        one.drop(7)
        assert len(machine.transport.written) == 1

    @on_virtual_loop
    async def test_whoever_sends_gets_all_replies_however_they_come(self, machine: Machine) -> None:
        one = await machine.started()
        for first in (0, 3):
            sending = asyncio.create_task(one.send(calls(3)))
            await turn()
            machine.send(wire.frame(Answers(first, replies(3)[:1])))
            await turn()
            assert not sending.done()
            machine.send(wire.frame(Answers(first + 1, replies(3)[1:])))
            assert await sending == replies(3)
        await one.kill()

    @on_virtual_loop
    async def test_whoever_sends_is_told_when_the_process_ends(self, machine: Machine) -> None:
        one = await machine.started()
        sending = asyncio.create_task(one.send(calls(2)))
        await turn()
        machine.send(wire.frame(Answers(0, replies(1))))
        machine.transport.close()
        with pytest.raises(WorkerError, match="ended while it was predicting"):
            await sending
        await one.kill()


class TestEnd:
    @on_virtual_loop
    async def test_its_group_is_killed_and_its_files_are_given_back(self, machine: Machine, tmp_path: Path) -> None:
        one = await machine.started()
        assert prune(tmp_path, 0).removed == ()
        await one.kill()
        await turn()
        assert machine.told == [(machine.process.pid, signal.SIGKILL)]
        assert machine.transport.aborted
        assert one.lost.done()
        assert len(prune(tmp_path, 0).removed) == 2

    @on_virtual_loop
    async def test_a_worker_has_a_moment_to_end(self, machine: Machine) -> None:
        one = await machine.started()
        stopping = asyncio.create_task(one.stop())
        await asyncio.sleep(3)
        assert machine.transport.closed
        assert not machine.transport.aborted
        assert machine.told == []
        machine.process.ended.set()
        await stopping
        # What the model started may be there still.
        assert machine.told == [(machine.process.pid, signal.SIGKILL)]
        assert asyncio.get_running_loop().time() == 3.0

    @on_virtual_loop
    async def test_a_worker_that_does_not_end_is_killed(self, machine: Machine) -> None:
        one = await machine.started()
        await one.stop()
        assert machine.told == [(machine.process.pid, signal.SIGKILL)]
        assert asyncio.get_running_loop().time() == 5.0

    @on_virtual_loop
    async def test_it_may_be_ended_by_several_at_once(self, machine: Machine) -> None:
        one = await machine.started()
        await asyncio.gather(one.kill(), one.stop(), one.kill())
        await one.kill()

    @on_virtual_loop
    async def test_its_end_is_noticed(self, machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
        one = await machine.started()
        machine.transport.close()
        await one.lost
        assert caplog.text == ""
        await one.kill()
