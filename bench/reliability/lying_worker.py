"""Runs inside a model's worker: after a request whose value is in LIES, the worker sends something wrong.

Broken native code, a full disk or a hostile model can make a worker send anything. `install` replaces the function
that makes the worker's frames; `listen` is told of every request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from legion import wire

_FIRST = 9001
_MB = 1024 * 1024
_frame = wire.frame
_due: list[int] = []


def _too_many(message: Any, replies: list[Any]) -> bytes:
    replies.append(replies[0])
    return _frame(message)


def _too_few(message: Any, replies: list[Any]) -> bytes:
    replies.clear()
    return _frame(message)


def _twice(message: Any, replies: list[Any]) -> bytes:
    return _frame(message) + _frame(message)


def _status(message: Any, replies: list[Any]) -> bytes:
    replies[0].status = 99999
    return _frame(message)


def _word(message: Any, replies: list[Any]) -> bytes:
    replies[0].status = "fine"
    return _frame(message)


def _header(message: Any, replies: list[Any]) -> bytes:
    replies[0].content_type = "text/html\r\nx-injected: yes\r\n\r\n<script>"
    return _frame(message)


def _times(message: Any, replies: list[Any]) -> bytes:
    replies[0].predict_us = -(2**62)
    return _frame(message)


def _long(message: Any, replies: list[Any]) -> bytes:
    return wire.HEADER.pack(4_000_000_000) + bytes(64 * _MB)


def _piece(message: Any, replies: list[Any]) -> bytes:
    return _frame(wire.Piece(77, b"nobody asked"))


def _garbage(message: Any, replies: list[Any]) -> bytes:
    return wire.HEADER.pack(5) + b"\xc1\xc1\xc1\xc1\xc1"


def _empty(message: Any, replies: list[Any]) -> bytes:
    return wire.HEADER.pack(0)


# What it is, by the value that a request asks for it with.
LIES: Final[dict[int, tuple[str, Callable[[Any, list[Any]], bytes]]]] = dict(
    enumerate(
        (
            ("more replies than requests", _too_many),
            ("no replies", _too_few),
            ("the same replies twice", _twice),
            ("a status of 99999", _status),
            ("a word for a status", _word),
            ("line breaks in the content type", _header),
            ("negative times", _times),
            ("a frame of 4 GB, with 64 MiB of it", _long),
            ("a piece of a stream that there is not", _piece),
            ("bytes that are not msgpack", _garbage),
            ("an empty frame", _empty),
        ),
        _FIRST,
    )
)


def listen(matrix: Any) -> None:
    """Note which lies these rows ask for."""
    _due.extend(int(value) for value in matrix[:, 0].tolist() if int(value) in LIES)


def _lying(message: Any) -> bytes:
    replies = message if isinstance(message, list) else getattr(message, "replies", None)
    if not replies or not _due:
        return _frame(message)
    _, lie = LIES[_due.pop()]
    _due.clear()
    return lie(message, replies)


def install() -> None:
    """Make the worker lie. Its golden answers are given before any frame is sent."""
    vars(wire)["frame"] = _lying
