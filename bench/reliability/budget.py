"""Many large bodies at once, on a gateway that is told how much memory it may use."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import callers
import holdings
import msgspec
import probes
from demands import Section, Table, at_least, at_most, none_of
from parts import Gateway, gateway
from scale import Scale

MIB = 1024 * 1024
_MEMORY = 384  # MiB
_BODY = 12  # MiB
_CLIENTS = 64  # at a time, so together they send twice as much as may be held
# So many at least must be answered in each round: a gateway that refused everything would use little memory, too.
_ANSWERED = 8
_CALL = 0.1  # seconds, of the model
_PATIENCE = 90.0  # seconds
_CHUNK = 256 * 1024
_HEAD = re.compile(rb"HTTP/1.1 (\d+) [^\n]*\n(.*?\r\n)\r\n", re.DOTALL)


class Told(msgspec.Struct, frozen=True):
    """What one client was told: its status (-1: no answer), and whether it was told when to try again."""

    status: int
    retry_after: bool


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with tempfile.TemporaryDirectory(prefix="legion-reliability-") as scratch:
        model = probes.artifact(Path(scratch) / "slow.zip", 1, predict=f"time.sleep({_CALL})", merges=False)
        with gateway("", str(model), "--memory", f"{_MEMORY}MiB") as running:
            before = holdings.peak_mb(running.pid)
            rounds = [asyncio.run(_flood(running.port)) for _ in range(scale.floods)]
            peak = holdings.peak_mb(running.pid)
            after = _after(running)
    return section(rounds, before, peak, after)


async def _flood(port: int) -> list[Told]:
    """All clients at once."""
    # White space is read fast by any model.
    body = probes.body(1) + b" " * (_BODY * MIB)
    return await asyncio.gather(*(_ask(port, body) for _ in range(_CLIENTS)))


async def _ask(port: int, body: bytes) -> Told:
    head = f"POST /models/{probes.NAME}/invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
    sending = asyncio.ensure_future(_send(writer, body))
    answer = b""
    # A client that is refused early may have its connection reset while it still sends; it has been told why.
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while more := await reader.read(65536):
                answer += more
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.close()
    found = _HEAD.match(answer)
    if found is None:
        return Told(-1, False)
    return Told(int(found[1]), b"retry-after:" in found[2].lower())


async def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    view = memoryview(body)
    for start in range(0, len(view), _CHUNK):
        writer.write(view[start : start + _CHUNK])
        await writer.drain()


def _after(running: Gateway) -> int:
    """How many of the requests that come afterwards fail."""
    with callers.started(running.port, running.folder / "calls") as load:
        pass
    return sum(call.failed for call in load.calls)


def section(rounds: Sequence[Sequence[Told]], before: float, peak: float, after: int) -> Section:
    """Demands and figures."""
    told = [one for clients in rounds for one in clients]
    answered = [sum(one.status == 200 for one in clients) for clients in rounds]
    refused = sum(one.status == 503 and one.retry_after for one in told)
    limit = _MEMORY * MIB / 1e6
    return Section(
        "Many large bodies at once",
        (
            at_most(f"the gateway's peak memory under --memory {_MEMORY}MiB", peak, limit, "MB"),
            at_least("bodies answered in each round", min(answered), _ANSWERED, "bodies"),
            none_of("neither answered nor refused with 503 and Retry-After", len(told) - sum(answered) - refused),
            none_of("failed requests afterwards", after),
        ),
        (
            Table(
                ("", "figure"),
                (
                    ("sent in each round", f"{_CLIENTS} bodies of {_BODY} MiB, {_CLIENTS * _BODY} MiB in all"),
                    ("answered, by round", ", ".join(map(str, answered))),
                    ("refused with 503 and Retry-After", str(refused)),
                    ("the gateway's memory before", f"{before:.0f} MB"),
                    ("its peak", f"{peak:.0f} MB"),
                ),
            ),
        ),
        (
            f"{_CLIENTS} clients send a body of {_BODY} MiB each at the same time to a model that takes {_CALL:g} s a "
            "call. Memory is the peak of the gateway's resident set size (VmHWM), from its start to the end.",
        ),
    )
