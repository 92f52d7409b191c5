"""A worker that sends wrong frames: it is replaced, its callers get an answer or a refusal, others notice nothing."""

from __future__ import annotations

import json
import re
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import callers
import holdings
import msgspec
import probes
from callers import Call
from demands import Demand, Section, Table, at_most, none_of, number, seconds
from lying_worker import LIES
from parts import Gateway, gateway
from scale import Scale

_SETTLED = 15.0  # seconds in which the caller must know, and a new worker must answer
_QUIET = 0.1  # seconds in which nothing may follow an answer
_GROWN = 32.0  # MB that all this may add to the gateway's peak: half of what one lie sends
_OTHER = "other"
_REFUSALS = ("502", "503", "504")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD = (
    f"POST /models/{probes.NAME}/invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    "content-length: %d\r\n\r\n"
).encode()


class Told(msgspec.Struct, frozen=True):
    """What came of one lie: what its caller was told and when, whether that was an answer or one refusal, whether the
    worker was replaced, and in how many seconds the deployment answered again (None: not in time)."""

    lie: str
    answer: str
    took: float
    proper: bool
    replaced: bool
    back: float | None


def prove(scale: Scale) -> Section:
    """The whole proof."""
    with tempfile.TemporaryDirectory(prefix="legion-reliability-") as scratch:
        folder = Path(scratch)
        init = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import lying_worker; "
        liar = probes.artifact(
            folder / "liar.zip",
            1,
            init=init + "lying_worker.install()",
            predict="import lying_worker; lying_worker.listen(input_matrix)",
        )
        honest = probes.artifact(folder / "honest.zip", 2)
        models = (f"{probes.NAME}={liar}", f"{_OTHER}={honest}")
        with (
            gateway("", *models) as running,
            callers.started(running.port, running.folder / "others", path=f"/models/{_OTHER}/invocations") as others,
            callers.started(running.port, running.folder / "own", count=2, pause=0.05) as own,
        ):
            bystander = _workers(running, _OTHER)
            before = holdings.peak_mb(running.pid)
            told = [_told(running, value, name) for value, (name, _) in LIES.items()]
            grown = holdings.peak_mb(running.pid) - before
            unmoved = _workers(running, _OTHER) == bystander
    return section(told, own.calls, others.calls, unmoved, grown)


def _workers(running: Gateway, name: str) -> list[int]:
    return list(running.client.deployment(name)["variants"][0]["serving"]["workers"])


def _told(running: Gateway, value: int, name: str) -> Told:
    """Ask for one lie, then until the deployment answers again."""
    workers = _workers(running, probes.NAME)
    began = time.monotonic()
    answer, proper = _asked(running.port, value)
    took = time.monotonic() - began
    back = None
    while time.monotonic() < began + _SETTLED and back is None:
        if _asked(running.port, 1) == ("200", True):
            back = time.monotonic() - began
        else:
            time.sleep(0.05)
    return Told(name, answer, took, proper, _workers(running, probes.NAME) != workers, back)


def _asked(port: int, value: int) -> tuple[str, bool]:
    """What a caller is told, and whether it is the right answer or a refusal, whole, with nothing behind it."""
    body = probes.body(value)
    # A plain socket: an HTTP client would not show what comes behind the answer.
    with socket.create_connection(("127.0.0.1", port), timeout=_SETTLED) as connection:
        try:
            connection.sendall(_HEAD % len(body) + body)
            head, answer = _received(connection)
        except OSError as error:
            return f"no answer ({type(error).__name__})", False
    status = head.split()[1].decode()
    found = _LENGTH.search(head)
    whole = found is not None and len(answer) == int(found[1]) and b"x-injected" not in head
    return status, whole and (_own(answer, value) if status == "200" else status in _REFUSALS)


def _received(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of an answer and all that follows, until nothing more comes. Raises OSError where none is complete."""
    data, complete = b"", False
    while True:
        try:
            more = connection.recv(65536)
        except TimeoutError:
            if complete:
                break
            raise
        data += more
        head, separator, rest = data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        complete = bool(separator) and found is not None and len(rest) >= int(found[1])
        if not more and not complete:
            raise ConnectionError("the answer was cut off")
        if not more:
            break
        if complete:
            connection.settimeout(_QUIET)
    return head, rest


def _own(body: bytes, value: int) -> bool:
    with suppress(ValueError, KeyError, TypeError, IndexError):
        return bool(json.loads(body)["predictions"][0]["a"] == value)
    return False


def section(told: Sequence[Told], own: Sequence[Call], others: Sequence[Call], unmoved: bool, grown: float) -> Section:
    """Demands for each lie, and for those who called meanwhile."""
    wrong = sum(call.status < 0 or (call.status == 200 and not call.own) for call in own)
    demands = [
        Demand(
            f"{one.lie}: an answer or one refusal, the worker replaced, the next answer right",
            f"≤ {_SETTLED:g} s",
            "yes" if _good(one) else f"{one.answer}, {'' if one.replaced else 'not '}replaced",
            _good(one),
        )
        for one in told
    ]
    demands += [
        none_of("other callers of that deployment: wrong or missing answers", wrong),
        none_of("callers of another deployment: failed requests", sum(call.failed for call in others)),
        Demand("the other deployment's worker is the same", "yes", "yes" if unmoved else "no", unmoved),
        at_most("added to the gateway's peak memory", max(0.0, grown), _GROWN, "MB"),
    ]
    refused = sum(call.status != 200 for call in own)
    rows = (
        *((one.lie, one.answer, seconds(one.took), "never" if one.back is None else seconds(one.back)) for one in told),
        ("(other callers of that deployment)", f"{len(own):,}, refused {refused:,}", "", ""),
        ("(callers of another deployment)", f"{len(others):,}", _longest(others), ""),
    )
    return Section(
        "A worker that sends what it should not",
        tuple(demands),
        (Table(("the worker sends", "its caller is told", "after", "right answers again after"), rows),),
        (
            "A model replaces the function that makes its worker's frames, and has it send something wrong when a "
            "request asks for that. Two callers ask the same deployment all the time, eight another one of the same "
            "gateway. A request whose worker ended is tried once more on the next one, so each lie is told twice.",
        ),
    )


def _good(one: Told) -> bool:
    return one.proper and one.replaced and one.back is not None


def _longest(calls: Sequence[Call]) -> str:
    return f"{number(1e3 * max(call.came - call.sent for call in calls))} ms at worst"
