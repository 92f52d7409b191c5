"""However many large bodies are on their way, the gateway takes no more memory than it was given."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Server

MIB = 1024 * 1024
MEMORY, BODY, CALLERS = 64 * MIB, 8 * MIB, 32
# A worker's frame is its body once more, twice while it is made; the rest is what the parsers hold of each connection.
BESIDE = 2 * BODY + CALLERS * MIB

MODEL = """
    import time
    def init(): return "matrix"
    def predict_on_matrix(input_matrix, provided_columns_names=None):
        time.sleep(0.05)
        return [[row[0]] for row in input_matrix.tolist()], ["y"]
    def get_info(): return [{"name": "x", "type": "number"}], []
"""


async def send(port: int) -> tuple[int, bool]:
    """Status, and whether there is a time to try again, of a body that is mostly blanks."""
    body = b'{"data": [[1.0]]' + b" " * BODY + b"}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST /api/model/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).lower().split(b"\r\n")
        return int(lines[0].split()[1]), any(line.startswith(b"retry-after:") for line in lines)
    finally:
        writer.transport.abort()


async def send_all(port: int) -> list[tuple[int, bool]]:
    return await asyncio.gather(*(send(port) for _ in range(CALLERS)))


def resident(pid: int, line: str) -> int:
    """In bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split(f"{line}:")[1].split()[0]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_large_bodies_stay_within_the_memory_that_was_given(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(MODEL), "--env", "local", "--memory", "64MiB")
    before = resident(server.process.pid, "VmRSS")
    for _ in range(3):
        answers = asyncio.run(send_all(server.port))
        assert {status for status, _ in answers} <= {200, 503}
        assert all(again for status, again in answers if status == 503)
        assert sum(status == 200 for status, _ in answers) >= 4
    assert resident(server.process.pid, "VmHWM") - before <= MEMORY + BESIDE
    assert server.post("/api/model/invoke", {"data": [[2.0]]}).json()["prediction"] == [[2.0]]
