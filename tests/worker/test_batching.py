"""Whatever its callers do, nobody gets another's answer, a bad request fails alone, and nobody hangs.

Real server, real sockets: many callers at once, some of whom leave while queued or while their rows run, send
what cannot be read, or send rows that make the model raise, answer slowly, or end its process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

# Every answer can be told from every other: it is computed from the row's own number.
MODEL = """
    import os, time

    def init(): return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        answers = []
        for number, command in input_matrix.tolist():
            if command == 1: raise ValueError(f"row {number:.0f} is marked")
            if command == 2: os._exit(9)
            if command == 3: time.sleep(0.02)
            if command == 4: raise SystemExit(5)
            answers.append([f"answer to {number:.0f}", number])
        return answers, ["text", "number"]

    def get_info():
        return [{"name": "number", "type": "number"}, {"name": "command", "type": "number"}], []
"""
GOLDEN = [
    {
        "request": {"dataframe_split": {"columns": ["number", "command"], "data": [[1, 0], [2, 0], [3, 3]]}},
        "response": {"predictions": [{"text": f"answer to {n}", "number": float(n)} for n in (1, 2, 3)]},
    }
]
ANSWERS, RAISES, ENDS, SLOW, EXITS = 0, 1, 2, 3, 4
# What cannot be read, with and without rows of its own.
UNREADABLE = (
    b"",
    b"{",
    b"[" * 100_000,
    b"\xff\xfe",
    b'{"dataframe_split": {"columns": ["number"], "data": [[1]]}}',
    b'{"dataframe_split": {"columns": ["number", "command"], "data": [[1, 0], [1]]}}',
    b'{"dataframe_split": {"columns": ["number", "command"], "data": [["1", 0]]}}',
    b'{"dataframe_split": {"columns": ["number", "command", "x"], "data": [[1, 0, 0]]}}',
    b'{"dataframe_split": {"data": [[1, 0]]}, "inputs": {}}',
    b'{"dataframe_split": {"data": {"columns": 5}, "index": 7}}',
    b'{"dataframe_split": {"index": [1], "data": null}}',
    b'{"dataframe_records": [{"\\ud800": 1}]}',
    b'{"inputs": [[[]]], "params": 5}',
)


class Caller(NamedTuple):
    """Rows of these commands, or an unreadable body; `leaves` after so many seconds, if ever."""

    commands: tuple[int, ...]
    unreadable: bytes | None
    leaves: float | None
    starts: float
    legion: bool


callers = st.builds(
    Caller,
    commands=st.one_of(
        st.lists(st.just(ANSWERS), min_size=1, max_size=4),
        st.lists(st.sampled_from([ANSWERS, ANSWERS, ANSWERS, SLOW, RAISES, EXITS]), min_size=1, max_size=4),
    ).map(tuple),
    unreadable=st.one_of(*[st.none()] * 6, st.sampled_from(UNREADABLE)),
    leaves=st.one_of(*[st.none()] * 4, st.sampled_from([0.0, 0.001, 0.01, 0.03])),
    starts=st.sampled_from([0.0, 0.0, 0.0, 0.002, 0.02]),
    legion=st.booleans(),
)


def body(caller: Caller, number: int) -> bytes:
    """The request's body: its rows are numbered from `number`."""
    if caller.unreadable is not None:
        return caller.unreadable
    split = {"columns": ["number", "command"], "data": [[number + i, c] for i, c in enumerate(caller.commands)]}
    return json.dumps(split if caller.legion else {"dataframe_split": split}).encode()


async def call(port: int, caller: Caller, number: int) -> tuple[int, Any] | None:
    """Status and document; None where the caller left before."""
    await asyncio.sleep(caller.starts)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        path, content = ("/api/model/invoke" if caller.legion else "/invocations"), body(caller, number)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        if caller.leaves is not None:
            await asyncio.sleep(caller.leaves)
            return None
        status = int((await reader.readline()).split()[1])
        length = 0
        while line := (await reader.readline()).strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(await reader.readexactly(length))
    finally:
        # Not a polite end: whoever leaves resets the connection.
        writer.transport.abort()


def expected(caller: Caller, number: int) -> Any:
    """The answer to the caller's own rows."""
    rows = [(f"answer to {number + i}", float(number + i)) for i in range(len(caller.commands))]
    if caller.legion:
        return {"prediction": [list(row) for row in rows], "columns": ["text", "number"]}
    return {"predictions": [{"text": text, "number": value} for text, value in rows]}


def check(caller: Caller, number: int, answer: tuple[int, Any] | None) -> None:
    """That it is the caller's own answer, or its own refusal."""
    if answer is None:
        return
    status, document = answer
    if caller.unreadable is not None:
        assert 400 <= status < 500, (caller, answer)
    elif ENDS in caller.commands:
        assert (status, document["message"]) == (503, "the model's process ended while answering this request")
    elif RAISES in caller.commands or EXITS in caller.commands:
        assert status == 400, (caller, answer)
        marked = next((i for i, c in enumerate(caller.commands) if c in (RAISES, EXITS)))
        if caller.commands[marked] == RAISES:
            assert f"row {number + marked} is marked" in document["message"]
    else:
        assert (status, document) == (200, expected(caller, number))


@pytest.fixture(scope="module", params=["1", "2"], ids=["one worker", "two workers"])
def server(request: pytest.FixtureRequest, start_server: Callable[..., Any], gppi_folder: Callable[..., Path]) -> Any:
    server = start_server(gppi_folder(MODEL, golden=GOLDEN), "--env", "local", "--workers", request.param)
    assert "merges requests" in server.log.read_text()
    return server


async def everybody(port: int, crowd: list[Caller]) -> list[tuple[int, Any] | None]:
    """All at once; nobody waits longer than 30 s."""
    async with asyncio.timeout(30):
        return await asyncio.gather(*(call(port, caller, 1000 * i) for i, caller in enumerate(crowd, 1)))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crowd=st.lists(callers, min_size=1, max_size=40))
def test_everybody_gets_their_own_answer(server: Any, crowd: list[Caller]) -> None:
    for i, (caller, answer) in enumerate(zip(crowd, asyncio.run(everybody(server.port, crowd)), strict=True), 1):
        check(caller, 1000 * i, answer)


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crowd=st.lists(callers, min_size=5, max_size=30), place=st.integers(0, 5))
def test_a_request_that_ends_the_process_fails_alone(server: Any, crowd: list[Caller], place: int) -> None:
    deadly = Caller((ANSWERS, ENDS), None, None, 0.0, legion=False)
    crowd = [*crowd[:place], deadly, *crowd[place:]]
    for i, (caller, answer) in enumerate(zip(crowd, asyncio.run(everybody(server.port, crowd)), strict=True), 1):
        check(caller, 1000 * i, answer)


def batches(server: Any) -> float:
    """How many batches the workers were given."""
    families = text_string_to_metric_families(requests.get(server.url + "/metrics", timeout=10).text)
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == "legion_batch_requests_count")


@pytest.mark.slow
def test_requests_are_merged_at_all(server: Any) -> None:
    before = batches(server)
    crowd = [Caller((SLOW,), None, None, 0.0, legion=False)] * 2
    crowd += [Caller((ANSWERS,), None, None, 0.005, legion=True)] * 60
    answers = asyncio.run(everybody(server.port, crowd))
    for i, (caller, answer) in enumerate(zip(crowd, answers, strict=True), 1):
        check(caller, 1000 * i, answer)
    assert batches(server) - before < len(crowd) / 2
