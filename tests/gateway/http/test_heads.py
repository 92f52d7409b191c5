"""Heads are remembered when they come again; what is remembered stays small, and means what it meant."""

from __future__ import annotations

import pytest
from stub_gateway import PATH, StubGateway, run, serving
from stub_server import Caller, request

from legion.gateway.http import heads as module
from legion.gateway.http.heads import Heads


def scope(*fields: tuple[bytes, bytes]) -> dict[str, object]:
    return {"method": "POST", "path": "/invocations", "headers": list(fields)}


def data(body: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"POST /invocations HTTP/1.1", b"content-length: %d" % len(body), *lines, b"", body])


def learn(heads: Heads, body: bytes, *lines: bytes) -> None:
    heads.learn(data(body, *lines), scope((b"content-length", b"%d" % len(body))), len(body))


def test_a_head_is_known_the_third_time() -> None:
    heads = Heads()
    for _ in range(2):
        assert heads.find(data(b"body")) is None
        learn(heads, b"body")
    found = heads.find(data(b"ydob"))
    assert found is not None
    assert (found[0].scope["path"], found[1]) == ("/invocations", b"ydob")


@pytest.mark.parametrize(
    "other",
    [
        data(b"body", b"x: y"),
        data(b"other"),
        data(b"body")[:-1],
        data(b"body") + b"G",
        data(b"body")[:-8],
        data(b"body").replace(b"/invocations", b"/Invocations"),
        b"",
    ],
)
def test_nothing_else_is_taken_for_it(other: bytes) -> None:
    heads = Heads()
    for _ in range(2):
        learn(heads, b"body")
    assert heads.find(other) is None


@pytest.mark.parametrize(
    ("raw", "fields", "length"),
    [
        # In chunks; with a head that ends elsewhere than it seems; with a length that is not written as usual.
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", [(b"te", b"chunked")], 4),
        (b"POST / HTTP/1.1\ncontent-length: 8\n\nbo\r\n\r\ndy", [(b"content-length", b"8")], 8),
        (b"POST / HTTP/1.1\r\ncontent-length: 04\r\n\r\nbody", [(b"content-length", b"04")], 4),
        (data(b"body", b"x: " + b"y" * 2000), [(b"content-length", b"4")], 4),
    ],
)
def test_what_could_mean_something_else_is_not_remembered(
    raw: bytes, fields: list[tuple[bytes, bytes]], length: int
) -> None:
    heads = Heads()
    for _ in range(3):
        heads.learn(raw, scope(*fields), length)
        assert heads.find(raw) is None


def test_no_more_than_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 10)
    heads = Heads()
    for count in range(100):
        for _ in range(2):
            learn(heads, b"body", b"x: %d" % count)
    known = [count for count in range(100) if heads.find(data(b"body", b"x: %d" % count))]
    assert known == list(range(90, 100))


async def ask(stub: StubGateway, caller: Caller, pieces: list[bytes], count: int) -> int:
    """The status of the answer to one request; it is the worker's call of this number."""
    for piece in pieces:
        received = stub.http.received
        caller.send(piece)
        await stub.http.until(lambda it: it.received > received)  # noqa: B023
    await stub.posted(count)
    stub.reply()
    return int((await caller.answer()).status)


WHOLE = request(b"12345", path=PATH)


async def known_caller(stub: StubGateway) -> Caller:
    """One whose three requests have been answered, so that the head of the next is known."""
    caller = await stub.http.connect()
    for count in range(1, 4):
        assert await ask(stub, caller, [WHOLE], count) == 200
    assert stub.http.kind.heads.find(WHOLE)
    return caller


def test_what_follows_known_heads_is_read_as_ever() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await stub.http.connect()
            whole = request(b"12345", path=PATH)
            other = request(b"54321", b"X-Request-Id: mine", path=PATH)
            ways = [[whole]] * 4 + [
                [whole[:1], whole[1:]],
                [whole[:-3], whole[-3:]],
                [other],
                [whole],
                [b"\r\n" + whole],
            ]
            for count, pieces in enumerate(ways, 1):
                assert await ask(stub, caller, pieces, count) == 200
            assert stub.http.kind.heads.find(whole)
            assert [frame[0] for frame in stub.worker.posted] == [
                b"54321" if pieces == [other] else b"12345" for pieces in ways
            ]
            await stub.at_rest()

    run(scenario())


def test_two_in_one_piece_are_both_answered_in_their_order() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await known_caller(stub)
            caller.send(WHOLE + request(b"2", path=PATH))
            caller.send(WHOLE)
            for count in range(4, 7):
                await stub.posted(count)
                stub.reply()
                assert (await caller.answer()).status == 200
            assert [body for frame in stub.worker.posted[3:] for body in frame] == [b"12345", b"2", b"12345"]

    run(scenario())


def test_a_known_head_of_a_model_that_is_gone_is_not_found() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await known_caller(stub)
            stub.routes.unmount(stub.deployment)
            caller.send(WHOLE)
            assert (await caller.answer()).status == 404
            stub.routes.mount(stub.deployment)
            assert await ask(stub, caller, [WHOLE], 4) == 200

    run(scenario())


def test_while_it_drains_a_known_head_gets_the_last_answer_of_its_connection() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await known_caller(stub)
            stub.connections.draining = True
            caller.send(WHOLE)
            await stub.posted(4)
            stub.reply()
            assert (await caller.answer()).headers["connection"] == "close"

    run(scenario())
