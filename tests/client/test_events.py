"""Server-sent events, as the client reads them."""

from __future__ import annotations

import pytest

from legion.client import events
from legion.errors import GatewayError

DONE = b"data: [DONE]\n"


def read(*lines: bytes) -> list[object]:
    return list(events.pieces(lines, "http://gateway"))


def test_each_event_is_a_value_and_what_is_no_event_is_passed_over() -> None:
    lines = [
        b": hello\n",
        b"data: 1\n",
        b"\n",
        b'data:{"a": "\xc3\xa9"}\r\n',
        b"\r\n",
        b"event: x\n",
        DONE,
        b"data: 2\n",
    ]
    assert read(*lines) == [1, {"a": "é"}]


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (b'data: {"error": "no more words"}\n', "the answer broke off: no more words"),
        (b"data: {\n", "no JSON"),
        (b"\n", "http://gateway broke off"),
    ],
)
def test_an_answer_that_does_not_come_to_its_end_is_an_error(last: bytes, words: str) -> None:
    found = events.pieces([b"data: 1\n", b"\n", last], "http://gateway")
    assert next(found) == 1
    with pytest.raises(GatewayError, match=words):
        next(found)
