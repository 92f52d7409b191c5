"""What the parent sends while the worker works: more work, and word of calls that nobody wants any more."""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Optional

import msgspec

from legion import wire
from legion.worker.channel import Channel

# A deadline that has passed.
_DROPPED = 1e-9


class Inbox:
    """`next` waits for work, `look` takes in what has come meanwhile; `allow` is told what is said of streams."""

    def __init__(self, channel: Channel, allow: Callable[[wire.Allow], None]) -> None:
        self._channel = channel
        self._allow = allow
        self._works: Deque[wire.Work] = deque()
        self._current = wire.Work(0, [])
        self._decode = wire.decoder(wire.Work).decode
        self._decode_notice: Callable[[bytearray], wire.Notice] = msgspec.msgpack.Decoder(wire.Notice).decode

    def next(self) -> Optional[wire.Work]:
        """The next work, without the wish for what was dropped; None when the parent has closed."""
        if self._works:
            self.look()
            self._current = self._works.popleft()
            return self._current
        while (body := self._channel.receive()) is not None:
            if not wire.is_map(body):
                self._current = work = self._decode(body)
                return work
            self._hear(body)
        return None

    def forget(self) -> None:
        """The work is done; nothing of it is kept."""
        self._current = wire.Work(0, [])

    def look(self) -> None:
        """Take in what has come, without waiting."""
        while self._channel.readable() and (body := self._channel.receive()) is not None:
            if wire.is_map(body):
                self._hear(body)
            else:
                self._works.append(self._decode(body))

    def _hear(self, body: bytearray) -> None:
        notice = self._decode_notice(body)
        if isinstance(notice, wire.Allow):
            self._allow(notice)
        else:
            self._drop(notice.call)

    def _drop(self, number: int) -> None:
        for work in (self._current, *self._works):
            if work.first <= number < work.first + len(work.calls):
                work.calls[number - work.first].deadline = _DROPPED
