"""Frames over a socket, whole however they come, and told from the parent's end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from legion import wire
from legion.wire import Drop
from legion.worker.channel import Channel


class ByteByByte(socket.socket):
    """Takes and gives one byte at a time, as any socket may, and lets other threads in between."""

    def recv_into(self, buffer: Any, *_: Any) -> int:
        return super().recv_into(buffer, 1)

    def sendall(self, data: Any, *_: Any) -> None:
        for place in range(len(data)):
            super().sendall(data[place : place + 1])
            time.sleep(0)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, ByteByByte]]:
    """The parent's and the worker's."""
    ours, theirs = socket.socketpair()
    worker = ByteByByte(fileno=theirs.detach())
    with ours, worker:
        ours.settimeout(10)
        worker.settimeout(10)
        yield ours, worker


def test_frames_are_read_one_after_the_other(ends: tuple[socket.socket, ByteByByte]) -> None:
    parent, worker = ends
    channel = Channel(worker)
    parent.sendall(wire.frame("one") + wire.HEADER.pack(0) + wire.frame("three"))
    assert channel.receive() == bytearray(b"\xa3one")
    assert channel.receive() == bytearray()
    assert channel.receive() == bytearray(b"\xa5three")


def test_what_was_read_stays_when_the_next_is(ends: tuple[socket.socket, ByteByByte]) -> None:
    parent, worker = ends
    channel = Channel(worker)
    parent.sendall(wire.frame("one") + wire.frame("two"))
    first, second = channel.receive(), channel.receive()
    assert (first, second) == (bytearray(b"\xa3one"), bytearray(b"\xa3two"))


@pytest.mark.parametrize("sent", [0, 2, 4, 6], ids=["nothing", "half a head", "a head", "half a body"])
def test_a_parent_that_closes_ends_it(ends: tuple[socket.socket, ByteByByte], sent: int) -> None:
    parent, worker = ends
    channel = Channel(worker)
    parent.sendall(wire.frame("one")[:sent])
    parent.close()
    assert channel.receive() is None


def test_it_is_readable_when_something_has_come_or_the_parent_has_closed(
    ends: tuple[socket.socket, ByteByByte],
) -> None:
    parent, worker = ends
    channel = Channel(worker)
    assert not channel.readable()
    parent.sendall(wire.frame("one"))
    assert channel.readable()
    channel.receive()
    assert not channel.readable()
    parent.close()
    assert channel.readable()


def test_frames_of_several_threads_are_not_mixed(ends: tuple[socket.socket, ByteByByte]) -> None:
    parent, worker = ends
    channel = Channel(worker)

    def send(first: int) -> None:
        for number in range(first, first + 20):
            channel.send(Drop(number))

    threads = [threading.Thread(target=send, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    other = Channel(parent)
    decode = wire.decoder(Drop).decode
    received = [decode(other.receive() or b"").call for _ in range(60)]
    for thread in threads:
        thread.join()
    assert sorted(received) == [first + n for first in (0, 100, 200) for n in range(20)]
    for first in (0, 100, 200):
        assert [number for number in received if first <= number < first + 20] == list(range(first, first + 20))


def test_a_parent_that_is_gone_is_an_error_for_the_sender(ends: tuple[socket.socket, ByteByByte]) -> None:
    parent, worker = ends
    parent.close()
    with pytest.raises(OSError, match="Broken pipe"):
        Channel(worker).send(Drop(1))
