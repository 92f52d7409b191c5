"""Clients that never finish a request, as the server sees them."""

from __future__ import annotations

import select
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "reliability"))

import tricklers


def test_each_sends_a_byte_at_a_time_and_comes_back_when_disconnected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        with tricklers.started(server.getsockname()[1], 3) as trickle:
            held = [server.accept()[0] for _ in range(3)]
            heads = {one.fileno(): one.recv(65536) for one in held}
            slow, _, _ = select.select(held, [], [], 10)
            more = slow[0].recv(65536)
            held.pop().close()
            again, _ = server.accept()
            assert again.recv(65536).startswith(b"POST")
        for one in (*held, again):
            one.close()
    assert all(b"\r\n\r\n" not in head for head in heads.values())
    assert more == b"x"
    assert 2 <= trickle.held <= 3
