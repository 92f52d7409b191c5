"""Clients with large bodies, and what is held of what they are told."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "reliability"))

import budget
from budget import Told

BODY = bytes(4 * budget.MIB)


async def asked(answer: bytes, *, reads_all: bool) -> tuple[Told, int]:
    """What one client is told by a server that answers so, and how many bytes the server got."""
    received = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received += len(await reader.readuntil(b"\r\n\r\n"))
        if reads_all:
            received += len(await reader.readexactly(len(BODY)))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, limit=2 * len(BODY)) as server:
        told = await budget._ask(server.sockets[0].getsockname()[1], BODY)
    return told, received


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Told(200, False)),
        (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\ncontent-length: 0\r\n\r\n", Told(503, True)),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", Told(503, False)),
        (b"", Told(-1, False)),
    ],
)
def test_a_client_sends_its_whole_body_and_is_told_something(answer: bytes, told: Any) -> None:
    found, received = asyncio.run(asked(answer, reads_all=True))
    assert found == told
    assert received > len(BODY)


def test_a_client_that_is_refused_early_has_read_why() -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
    found, received = asyncio.run(asked(refusal, reads_all=False))
    assert found == Told(503, True)
    assert received < len(BODY)


def test_each_demand_is_held() -> None:
    good = [Told(200, False)] * 10 + [Told(503, True)] * 54
    assert budget.section([good, good], 40.0, 300.0, 0).met
    assert not budget.section([good, good], 40.0, 500.0, 0).met
    assert not budget.section([good, [Told(503, True)] * 64], 40.0, 300.0, 0).met
    assert not budget.section([good, [*good[1:], Told(503, False)]], 40.0, 300.0, 0).met
    assert not budget.section([good, [*good[1:], Told(-1, False)]], 40.0, 300.0, 0).met
    assert not budget.section([good, good], 40.0, 300.0, 1).met
