"""What counts as an answer or a refusal when a worker lies."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "reliability"))

import lies
from callers import CUT, Call
from lies import Told

OWN = b'{"predictions":[{"v":1,"a":7}]}'


def answer(status: bytes, body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers, b"", body])


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (answer(b"200 OK", OWN), ("200", True)),
        (answer(b"503 Service Unavailable", b"{}"), ("503", True)),
        (answer(b"200 OK", OWN.replace(b"7", b"8")), ("200", False)),
        (answer(b"500 Internal Server Error", b"{}"), ("500", False)),
        (answer(b"200 OK", OWN, b"x-injected: yes"), ("200", False)),
        (answer(b"200 OK", OWN) + b"<script>", ("200", False)),
        (b"", ("no answer (ConnectionError)", False)),
    ],
)
def test_an_answer_or_one_refusal_and_nothing_else(sent: Any, found: tuple[Any, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        assert lies._asked(server.getsockname()[1], 7) == found
        thread.join()


def test_each_part_of_the_promise_is_held() -> None:
    good = Told("a lie", "503", 1.0, proper=True, replaced=True, back=2.0)
    right, cut, others = Call(1, 2, 200, 1, True, 1), Call(1, 2, CUT, 1, False, None), Call(1, 2, 200, 1, False, 2)
    assert lies.section([good], [right], [right], True, 1.0).met
    changes: tuple[dict[str, Any], ...] = ({"proper": False}, {"replaced": False}, {"back": None})
    for bad in changes:
        told = Told(**{"lie": "a lie", "answer": "", "took": 1.0, "proper": True, "replaced": True, "back": 2.0, **bad})
        assert not lies.section([told], [right], [right], True, 1.0).met
    assert not lies.section([good], [right, cut], [right], True, 1.0).met
    assert not lies.section([good], [right, others], [right], True, 1.0).met
    assert not lies.section([good], [right], [right, cut], True, 1.0).met
    assert not lies.section([good], [right], [right], False, 1.0).met
    assert not lies.section([good], [right], [right], True, 70.0).met
