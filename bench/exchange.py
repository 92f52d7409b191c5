"""Where a request's time goes: the parts that Server-Timing names, and the rest, at one connection."""

from __future__ import annotations

import re
import socket
import statistics
import sys
import time
from pathlib import Path

from servers import Server

PARTS = ("queue", "decode", "predict", "encode")
_PART = re.compile(rb"(\w+);dur=([\d.]+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_WARM_UP = 100


def parts(server: Server, body: Path, count: int) -> dict[str, float | None]:
    """Means over `count` requests, ms: each of PARTS, `rest` (measured minus their sum) and `whole`.

    A plain socket, because an HTTP client in Python would take longer than the server does.
    """
    content = body.read_bytes()
    head = f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content
    found: dict[str, list[float]] = {name: [] for name in (*PARTS, "whole")}
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(_WARM_UP + count):
            began = time.perf_counter()
            connection.sendall(request)
            headers = _answer(connection)
            whole = (time.perf_counter() - began) * 1e3
            if number >= _WARM_UP:
                found["whole"].append(whole)
                for name, value in timings(headers).items():
                    found[name].append(value)
    means = {name: statistics.fmean(values) for name, values in found.items()}
    return {**means, "rest": means["whole"] - sum(means[name] for name in PARTS)}


def timings(headers: bytes) -> dict[str, float]:
    """The parts in Server-Timing, ms. Ends the run where one is missing."""
    line = next((line for line in headers.split(b"\r\n") if line.lower().startswith(b"server-timing:")), b"")
    found = {name.decode(): float(value) for name, value in _PART.findall(line)}
    if set(found) != set(PARTS):
        sys.exit(f"the answer's Server-Timing does not name {', '.join(PARTS)}: {line!r}")
    return found


def _answer(connection: socket.socket) -> bytes:
    """The headers of one whole answer; ends the run where it is no 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    headers, _, rest = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(headers)
    if not headers.startswith(b"HTTP/1.1 200 ") or length is None:
        sys.exit(f"no plain 200 answer while a request's parts were measured: {headers[:200]!r}")
    missing = int(length[1]) - len(rest)
    while missing > 0:
        missing -= len(_received(connection))
    return headers


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        sys.exit("the server closed the connection while a request's parts were measured")
    return data
