"""Sends an answer that comes in pieces: its head when the first piece is there, then each as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from legion import wire
from legion.gateway.dispatch.pending import Crashed, TooLate
from legion.gateway.dispatch.stream import Stream
from legion.gateway.http.exchange import Exchange
from legion.gateway.http.refusal import Refusal


async def respond(exchange: Exchange, first: wire.Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer that `first` is the head of. A caller who leaves, or takes nothing for too long, ends it."""
    answer = exchange.answer(first)
    assert answer is not None
    assert exchange.pending is not None
    assert exchange.pending.stream is not None
    stream = exchange.pending.stream
    status, headers, _ = answer

    async def send_in_time(message: MutableMapping[str, Any]) -> None:
        async with asyncio.timeout(stream.timeout):
            await send(message)

    response = StreamingResponse(_pieces(stream, exchange), status)
    # Its length is not known before its end, and nobody on the way should wait for more of it.
    response.raw_headers = [header for header in headers if header[0] != b"content-length"]
    response.raw_headers += ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
    try:
        # Where the server ends first, or the caller takes nothing, the answer is cut off.
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            await response(scope, receive, send_in_time)
    finally:
        stream.leave()
        exchange.close()


async def _pieces(stream: Stream, exchange: Exchange) -> AsyncIterator[bytes]:
    """The pieces; an error on the way is the last event."""
    try:
        async for piece in stream.pieces():
            yield piece
    except (TooLate, Crashed) as fault:
        error = msgspec.json.encode({"error": Refusal.of(fault, exchange.deployment.limits).message})
        yield b"data: %b\n\n" % error + wire.LAST_EVENT
