"""What a worker hears while it works: more work, who left, how streams go on, and that its parent is gone."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from legion import wire
from legion.wire import MLFLOW, Allow, Call, Drop, Work
from legion.worker.channel import Channel
from legion.worker.inbox import Inbox


class Parent:
    """Writes what an inbox reads; `allowed` is what that says of streams."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self._sock = ours
        self.allowed: list[Allow] = []
        self.inbox = Inbox(Channel(theirs), self.allowed.append)

    def say(self, *messages: object) -> None:
        self._sock.sendall(b"".join(map(wire.frame, messages)))

    def work(self, first: int, calls: int) -> None:
        self.say(Work(first, [Call(MLFLOW, b"%d" % number) for number in range(first, first + calls)]))

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def parent() -> Iterator[Parent]:
    ours, theirs = socket.socketpair()
    # Nothing here waits for what does not come.
    theirs.settimeout(10)
    with ours, theirs:
        yield Parent(ours, theirs)


def dropped(work: Work | None) -> list[bytes]:
    """The calls that are not worth executing any more."""
    assert work is not None
    return [call.body for call in work.calls if 0 < call.deadline < 1e-6]


def test_works_come_in_their_order(parent: Parent) -> None:
    parent.work(0, 2)
    parent.work(2, 1)
    for first, calls in ((0, 2), (2, 1)):
        work = parent.inbox.next()
        assert work is not None
        assert (work.first, len(work.calls)) == (first, calls)
        assert dropped(work) == []


def test_what_was_looked_at_is_not_lost(parent: Parent) -> None:
    for first in (0, 1, 2):
        parent.work(first, 1)
    parent.inbox.look()
    found = [parent.inbox.next() for _ in range(3)]
    assert [work.first for work in found if work is not None] == [0, 1, 2]


def test_looking_does_not_wait(parent: Parent) -> None:
    parent.inbox.look()


def test_a_call_of_the_work_in_hand_is_dropped_when_it_is_looked(parent: Parent) -> None:
    parent.work(0, 3)
    work = parent.inbox.next()
    parent.say(Drop(1))
    assert dropped(work) == []
    parent.inbox.look()
    assert dropped(work) == [b"1"]


def test_a_call_of_work_that_waits_is_dropped_before_it_begins(parent: Parent) -> None:
    parent.work(0, 1)
    parent.inbox.next()
    parent.work(1, 2)
    parent.work(3, 2)
    parent.inbox.look()
    parent.say(Drop(2), Drop(3))
    assert dropped(parent.inbox.next()) == [b"2"]
    assert dropped(parent.inbox.next()) == [b"3"]


def test_a_drop_may_come_before_its_work_is_asked_for(parent: Parent) -> None:
    parent.work(0, 1)
    parent.work(1, 2)
    parent.say(Drop(2))
    assert dropped(parent.inbox.next()) == []
    parent.inbox.look()
    assert dropped(parent.inbox.next()) == [b"2"]


@pytest.mark.parametrize("number", [0, 1, 5, 2**40])
def test_what_was_answered_or_never_was_is_no_call_to_drop(parent: Parent, number: int) -> None:
    parent.work(0, 2)
    parent.inbox.next()
    parent.work(2, 3)
    work = parent.inbox.next()
    parent.say(Drop(number))
    parent.inbox.look()
    assert dropped(work) == []


def test_word_of_streams_is_passed_on_whenever_it_comes(parent: Parent) -> None:
    parent.say(Allow(1, 1))
    parent.work(0, 1)
    parent.inbox.next()
    assert parent.allowed == [Allow(1, 1)]
    parent.say(Allow(1, 0), Allow(2, 3))
    parent.inbox.look()
    assert parent.allowed == [Allow(1, 1), Allow(1, 0), Allow(2, 3)]


def test_a_parent_that_closes_ends_it(parent: Parent) -> None:
    parent.close()
    assert parent.inbox.next() is None


def test_a_parent_that_closes_meanwhile_is_noticed_when_there_is_no_more_work(parent: Parent) -> None:
    parent.work(0, 1)
    parent.work(1, 1)
    assert parent.inbox.next() is not None
    parent.close()
    parent.inbox.look()
    assert parent.inbox.next() is not None
    assert parent.inbox.next() is None
