"""Heads of predictions that were read before. A caller sends the same one again and again, and it means the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

# So many heads are remembered, and so many that came once; none has more bytes than this.
_MOST = 512
_LONGEST = 1024


class Head(msgspec.Struct, frozen=True):
    """What was read from a head: ASGI's scope, and the size of the body in bytes."""

    scope: Mapping[str, Any]
    length: int


class Heads:
    """Remembers a head that comes a second time, so that one with an id of its own costs next to nothing."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self._once: dict[int, None] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """A known head and its body, where `data` is both and no more."""
        end = data.find(b"\r\n\r\n") + 4
        head = self._known.get(data[:end])
        if head is None or head.length != len(data) - end:
            return None
        return head, data[end:]

    def learn(self, data: bytes, scope: Mapping[str, Any], length: int) -> None:
        """`data`, a whole request and no more, was read as this, with a body of `length` bytes."""
        end = data.find(b"\r\n\r\n") + 4
        # Only a length that the head itself names is the same again.
        if end > _LONGEST or length != len(data) - end or (b"content-length", b"%d" % length) not in scope["headers"]:
            return
        head = data[:end]
        if (number := hash(head)) in self._once:
            _add(self._known, head, Head(dict(scope), length))
        else:
            _add(self._once, number, None)


def _add(table: dict[Any, Any], key: object, value: object) -> None:
    if len(table) >= _MOST:
        del table[next(iter(table))]
    table[key] = value
