"""One connection against callers who send what they should not, or nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import time
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from stub_server import request, run, serving

CHUNKED = b"Transfer-Encoding: chunked"
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")


def message(answer: Any) -> Any:
    return json.loads(answer.body)["message"]


# Heads


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"X-%d: %s" % (i, b"a" * 1000) for i in range(60)], 200),
        ([b"X-%d: %s" % (i, b"a" * 1000) for i in range(70)], 431),
        ([b"X: " + b"a" * 70_000], 431),
        ([b"X-%d: a" % i for i in range(250)], 200),
        ([b"X-%d: a" % i for i in range(260)], 431),
    ],
)
@pytest.mark.parametrize("step", [1_000_000, 5_000])
def test_a_head_has_bounds(lines: Any, status: Any, step: Any) -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            whole = request(b"abc", *lines)
            for begin in range(0, len(whole), step):
                caller.send(whole[begin : begin + step])
                if status == 200:
                    await server.until(lambda it, sent=begin + step: it.received >= min(sent, len(whole)))  # type: ignore[misc]
            answer = await caller.answer()
            assert answer.status == status
            if status == 431:
                assert "65536 bytes or 256 fields" in message(answer)
                assert await caller.rest() == b""
                assert not server.application.scopes

    run(scenario())


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 2", b"Content-Length: 3"],
        [b"Content-Length: 2", b"Content-Length: 2"],
        [b"Content-Length: 2", CHUNKED],
        [CHUNKED, b"Content-Length: 2"],
        [b"Content-Length: -2"],
        [b"Content-Length: 99999999999999999999"],
        [b"X: a\rb", b"Content-Length: 2"],
        [b"X : a", b"Content-Length: 2"],
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused(lines: Any) -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            caller.send(b"\r\n".join([b"POST / HTTP/1.1", b"Host: x", *lines, b"", b"{}"]))
            answer = await caller.answer()
            assert (answer.status, answer.headers["connection"]) == (400, "close")
            assert await caller.rest() == b""
            # One that began to be read may have been handed over; none is taken for whole.
            assert not server.application.bodies
            assert server.connections.meter.ended == {"malformed": 1}

    run(scenario())


def test_what_cannot_be_read_is_answered_after_what_came_before_it() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.go.clear()
            caller = await server.connect()
            caller.send(request(b"a") + request(b"bb") + b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            await server.until(lambda it: it.application.scopes)
            server.application.go.set()
            assert [(await caller.answer()).body for _ in range(2)] == [b"1", b"2"]
            assert (await caller.answer()).status == 400
            assert await caller.rest() == b""

    run(scenario())


def test_nothing_is_read_behind_what_cannot_be_read() -> None:
    watched: list[Any] = []
    watching = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        # As one does who wants to know whether the caller is still there; it lets more be read.
        watched.append(asyncio.get_running_loop().create_task(receive()))
        await watching.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def scenario() -> None:
        async with serving(application=application) as server:
            caller = await server.connect()
            caller.send(request(b"a") + b"this is no HTTP\r\n\r\n")
            await server.until(lambda it: watched)
            sent = server.received
            caller.send(request(b"bb"))
            await server.until(lambda it: it.received > sent)
            watching.set()
            assert (await caller.answer()).status == 200
            assert (await caller.answer()).status == 400
            assert await caller.rest() == b""
            assert server.connections.meter.ended == {"malformed": 1}

    run(scenario())


def test_a_broken_body_behind_another_request_is_answered_in_its_turn() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.go.clear()
            caller = await server.connect()
            caller.send(request(b"a") + request(b"zzz\r\n", CHUNKED))
            await server.until(lambda it: it.application.scopes)
            server.application.go.set()
            assert (await caller.answer()).body == b"1"
            assert (await caller.answer()).status == 400
            assert await caller.rest() == b""
            assert server.application.bodies == [b"a"]

    run(scenario())


# Bodies and trailers


def test_trailers_are_never_headers() -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            trailers = b"X-User: admin\r\nAuthorization: Bearer of-a-trailer\r\n"
            caller.send(request(b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n", CHUNKED, b"Trailer: X-User"))
            assert (await caller.answer()).body == b"3"
            (scope,) = server.application.scopes
            assert [name for name, _ in scope["headers"]] == [b"host", b"transfer-encoding", b"trailer"]
            caller.send(request(b"ab"))
            assert (await caller.answer()).body == b"2"
            assert [name for name, _ in server.application.scopes[1]["headers"]] == [b"host", b"content-length"]

    run(scenario())


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"0\r\n", b"X-%05d: aaaa\r\n"),
        (b"0\r\nX: ", b"aaaaaaaaaaaaaaa"),
        (b"0\r\nX", b"aaaaaaaaaaaaaaa"),
        (b"1;x=", b"aaaaaaaaaaaaaaa"),
    ],
)
def test_nothing_between_the_pieces_of_a_body_goes_on_for_ever(begin: Any, again: Any) -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            caller.send(request(b"1\r\na\r\n" + begin, CHUNKED))
            for _ in range(30):
                caller.send(b"".join(again % i if b"%" in again else again for i in range(1000)))
            assert (await caller.answer()).status == 431

    run(scenario())


def test_a_million_chunks_of_one_byte_are_one_body() -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            caller.send(request(b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n", CHUNKED))
            assert (await caller.answer()).body == b"1000000"

    run(scenario())


def test_a_request_behind_a_large_body_is_answered() -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            # Its head comes in two reads, the first of which is the large body's last.
            whole = request(bytes(2_000_000)) + request(b"abc", b"X: " + b"a" * 2000)
            caller.send(whole[:-1000])
            await server.until(lambda it: it.received == len(whole) - 1000)
            caller.send(whole[-1000:])
            assert [(await caller.answer()).body for _ in range(2)] == [b"2000000", b"3"]

    run(scenario())


# Upgrades


@pytest.mark.parametrize("body", [b"", b"hello", b"x" * 300_000])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("step", [1_000_000, 7])
def test_an_upgrade_that_is_not_taken_is_ignored(body: Any, chunked: Any, step: Any) -> None:
    if step == 7 and len(body) > 1000:
        body = body[:1000]

    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            if chunked:
                sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:3], body[3:]) if part)
                first = request(sent + b"0\r\n\r\n", *H2C, CHUNKED)
            else:
                first = request(body, *H2C)
            whole = first + request(b"ab", b"Connection: upgrade", b"Upgrade: websocket") + request(b"c")
            for begin in range(0, len(whole), step):
                caller.send(whole[begin : begin + step])
                await server.until(lambda it, sent=begin + step: it.received >= min(sent, len(whole)))  # type: ignore[misc]
            answers = [await caller.answer() for _ in range(3)]
            assert [answer.status for answer in answers] == [200] * 3
            assert server.application.bodies == [body, b"ab", b"c"]
            assert all(b"upgrade" not in dict(scope["headers"]) for scope in server.application.scopes)

    run(scenario())


def test_an_upgrade_without_a_body_and_its_query(caplog: Any) -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            caller.send(request(b"", *H2C, method="GET", path="/a%20b?c=d"))
            assert (await caller.answer()).status == 200
            (scope,) = server.application.scopes
            assert (scope["method"], scope["path"], scope["query_string"]) == ("GET", "/a b", b"c=d")

    run(scenario())
    assert not caplog.records


def test_connect_is_refused() -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            caller.send(b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n")
            assert (await caller.answer()).status == 501
            assert await caller.rest() == b""

    run(scenario())


# Pipelines and callers who take nothing


def test_a_pipeline_has_a_bound_and_what_is_within_it_is_answered() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.go.clear()
            caller = await server.connect()
            caller.send(request(b"a") * 300)
            await server.until(lambda it: it.application.scopes)
            server.application.go.set()
            answers = [await caller.answer() for _ in range(258)]
            assert [answer.status for answer in answers] == [200] * 257 + [429]
            assert await caller.rest() == b""

    run(scenario())


@pytest.mark.parametrize("at_once", [1, 8])
def test_who_takes_no_answers_gets_no_more_work_done(at_once: Any) -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.answer = bytes(5_000_000)
            caller = await server.connect(small_buffer=True)
            caller.send(request(b"a") * at_once)
            await server.until(lambda it: it.paused)
            caller.send(request(b"a") * at_once)
            done = len(server.application.bodies)
            for _ in range(5):
                other = await server.connect()
                other.send(request(b"b"))
                assert len((await other.answer()).body) == 5_000_000
            assert server.application.bodies.count(b"a") == done < at_once + 1
            answers = [await caller.answer() for _ in range(2 * at_once)]
            assert {len(answer.body) for answer in answers} == {5_000_000}

    run(scenario())


# Waiting


def test_a_head_that_trickles_is_given_so_long_from_its_first_byte() -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            caller.send(request(b"abc"))
            assert (await caller.answer()).status == 200
            # Idle since long before, which is another matter.
            server.look(0)
            head = request(b"abc", b"X: " + b"a" * 1000)
            caller.send(head[:1])
            await server.until(lambda it: it.received == len(request(b"abc")) + 1)
            for second in range(20):
                server.look(70 + second)
                caller.send(head[1 + second : 2 + second])
                await server.until(lambda it, sent=second + 2: it.received == len(request(b"abc")) + sent)  # type: ignore[misc]
            server.look(90)
            answer = await caller.answer()
            assert (answer.status, message(answer)) == (408, "the head did not arrive within 20 s")
            assert await caller.rest() == b""
            assert server.connections.meter.ended == {"head": 1}

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"\r\n\r\n"])
def test_who_never_says_anything_is_let_go(said: Any) -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            server.look(0)
            caller.send(said)
            await server.until(lambda it: it.received == len(said))
            server.look(19.9)
            assert server.connections.meter.open == 1
            server.look(20)
            assert await caller.rest() == b""
            await server.until(lambda it: it.connections.meter.open == 0)

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"\r\n"])
def test_a_connection_is_kept_for_the_next_request_for_so_long(said: Any) -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            for second in (0, 74.9):
                server.look(second)
                caller.send(request(b"abc"))
                assert (await caller.answer()).status == 200
            server.look(100)
            caller.send(said)
            await server.until(lambda it: it.received == 2 * len(request(b"abc")) + len(said))
            server.look(174.9)
            assert server.connections.meter.open == 1
            server.look(175)
            assert await caller.rest() == b""
            assert server.connections.meter.ended == {"idle": 1}

    run(scenario())


def test_a_body_is_waited_for_while_it_comes_fast_enough() -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller = await server.connect()
            head = request(b"", b"Content-Length: 100000", method="PUT").replace(b"Content-Length: 0\r\n", b"")
            caller.send(head)
            sent = len(head)
            await server.until(lambda it: it.received == sent)
            server.look(0)
            for second in (20, 40, 60):
                sent += 10_000
                caller.send(bytes(10_000))
                await server.until(lambda it, sent=sent: it.received == sent)  # type: ignore[misc]
                server.look(second)
                assert server.connections.meter.open == 1
            caller.send(bytes(9_999))
            await server.until(lambda it: it.received == sent + 9_999)
            server.look(79)
            assert server.connections.meter.open == 1
            server.look(80)
            answer = await caller.answer()
            assert (answer.status, message(answer)) == (408, "less than 500 bytes a second of the body arrive")
            assert await caller.rest() == b""
            assert not server.application.bodies

    run(scenario())


def test_a_body_that_the_application_does_not_take_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.reads = False
            server.application.go.clear()
            caller = await server.connect()
            whole = request(bytes(1_000_000))
            caller.send(whole)
            await server.until(lambda it: it.application.bodies)
            server.look(0)
            server.look(1000)
            server.application.go.set()
            assert (await caller.answer()).status == 200

    run(scenario())


def test_who_is_to_be_asked_for_the_body_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.reads = False
            server.application.go.clear()
            caller = await server.connect()
            caller.send(request(b"abc", b"Expect: 100-continue")[:-3])
            await server.until(lambda it: it.application.bodies)
            server.look(0)
            server.look(1000)
            server.application.go.set()
            assert (await caller.answer()).status == 200

    run(scenario())


def test_the_rest_of_a_body_whose_request_is_answered_is_not_taken_for_ever() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.reads = False
            caller = await server.connect()
            caller.send(request(bytes(1_000_000))[:500_000])
            assert (await caller.answer()).status == 200
            server.look(0)
            caller.send(bytes(400_000))
            server.look(19)
            assert server.connections.meter.open == 1
            server.look(20)
            assert await caller.rest() == b""
            assert server.connections.meter.ended == {"discard": 1}

    run(scenario())


def test_an_answer_is_waited_for_as_long_as_the_model_takes() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.go.clear()
            caller = await server.connect()
            # The second begins while the first is worked on.
            caller.send(request(b"abc") + request(b"ab")[:9])
            await server.until(lambda it: it.application.bodies)
            server.look(0)
            server.look(1000)
            server.application.go.set()
            assert (await caller.answer()).body == b"3"
            caller.send(request(b"ab")[9:])
            assert (await caller.answer()).body == b"2"

    run(scenario())


@pytest.mark.parametrize("asked", [request(b"a"), request(b"a", b"Connection: close"), request(b"a") * 3])
def test_an_answer_that_is_not_taken_is_given_up(asked: Any) -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.answer = bytes(20_000_000)
            caller = await server.connect(small_buffer=True)
            caller.send(asked)
            await server.until(lambda it: it.paused)
            server.look(0)
            server.look(29.9)
            assert server.connections.meter.open == 1
            server.look(30)
            await server.until(lambda it: it.connections.meter.open == 0)
            assert server.connections.meter.ended == {"answer": 1}
            assert len(server.application.bodies) == 1

    run(scenario())


def test_an_answer_that_is_taken_slowly_is_waited_for() -> None:
    async def scenario() -> None:
        async with serving() as server:
            server.application.answer = bytes(20_000_000)
            caller = await server.connect(small_buffer=True)
            caller.send(request(b"a"))
            await server.until(lambda it: it.paused)
            second = 0
            while left := server.buffered:
                server.look(second)
                second += 30
                while left - server.buffered < 15_000 and server.buffered:
                    await caller.some(1_000_000)
            server.look(second)
            assert server.connections.meter.open == 1

    run(scenario())


# Ending


def test_where_there_is_no_room_a_caller_is_told_when_to_come_back() -> None:
    async def scenario() -> None:
        async with serving(most=1) as server:
            server.application.go.clear()
            served = await server.connect()
            served.send(request(b"abc"))
            await server.until(lambda it: it.application.bodies)
            refused = await server.connect()
            answer = await refused.answer()
            assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
            assert await refused.rest() == b""
            assert server.connections.meter.open == 1
            assert server.connections.meter.ended == {"capacity": 1}
            server.application.go.set()
            assert (await served.answer()).body == b"3"

    run(scenario())


@pytest.mark.parametrize(
    ("before", "said", "told"),
    [
        (0, b"", b""),
        (0, b"POST / HTTP/1.1\r\nX: a", b"HTTP/1.1 503 Service Unavailable\r\n"),
        (1, b"", b""),
        (1, b"POST / HTTP/1.1\r\nX: a", b"HTTP/1.1 503 Service Unavailable\r\n"),
    ],
)
def test_who_keeps_silent_makes_way_for_another(before: Any, said: Any, told: Any) -> None:
    async def scenario() -> None:
        async with serving(most=2) as server:
            server.application.go.clear()
            served, silent = await server.connect(), await server.connect()
            server.application.go.set()
            for _ in range(before):
                silent.send(request(b"a"))
                assert (await silent.answer()).status == 200
            server.application.go.clear()
            served.send(request(b"abc"))
            silent.send(said)
            await server.until(lambda it: it.received == len(request(b"abc") + request(b"a") * before + said))
            if before:
                server.look(asyncio.get_running_loop().time() - 3)
            else:
                await asyncio.sleep(0.06)
            newcomer = await server.connect()
            assert (await silent.rest()).partition(b"date")[0].startswith(told)
            server.application.go.set()
            newcomer.send(request(b"ab"))
            assert [(await one.answer()).body for one in (served, newcomer)] == [b"3", b"2"]

    run(scenario())


def test_who_has_only_just_come_does_not_make_way() -> None:
    async def scenario() -> None:
        async with serving(most=1) as server:
            first, second = await server.connect(), await server.connect()
            assert (await second.answer()).status == 503
            first.send(request(b"abc"))
            assert (await first.answer()).body == b"3"
            # Between two requests, and not for long.
            third = await server.connect()
            assert (await third.answer()).status == 503
            first.send(request(b"ab"))
            assert (await first.answer()).body == b"2"

    run(scenario())


def test_where_no_descriptor_is_left_it_neither_ends_nor_spins() -> None:
    async def scenario() -> None:
        async with serving() as server:
            loop = asyncio.get_running_loop()
            socks = [socket.socket() for _ in range(20)]
            for sock in socks:
                sock.setblocking(False)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (socks[0].fileno(), limits[1]))
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    os.dup(0)
                for sock in socks:
                    await loop.sock_connect(sock, ("127.0.0.1", server.port))
                    assert await loop.sock_recv(sock, 100) == b""
                began = time.process_time()
                await asyncio.sleep(0.3)
                assert time.process_time() - began < 0.1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert server.made == 0
            caller = await server.connect()
            caller.send(request(b"abc"))
            assert (await caller.answer()).body == b"3"
            for sock in socks:
                sock.close()

    run(scenario())


def test_while_draining_every_answer_ends_its_connection() -> None:
    async def scenario() -> None:
        async with serving() as server:
            caller, other = await server.connect(), await server.connect()
            other.send(request(b"ab"))
            assert "connection" not in (await other.answer()).headers
            server.connections.draining = True
            for one in (caller, other):
                one.send(request(b"abc"))
                answer = await one.answer()
                assert (answer.body, answer.headers["connection"]) == (b"3", "close")
                assert await one.rest() == b""

    run(scenario())


def test_who_leaves_with_more_than_one_request_is_known_to_have_left(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    left = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            left.append(message)
        left.append(None)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def scenario() -> None:
        async with serving(application=application) as server:
            caller = await server.connect()
            caller.send(request(b"a") + request(b"b"))
            await server.until(lambda it: left)
            await caller.leave()
            await server.until(lambda it: left[1:])
            assert left[1] is None
            await server.connect()

    run(scenario())
    assert not caplog.records


def test_a_caller_who_leaves_is_no_error_of_the_application(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    begun = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        begun.append(scope)
        while (await receive())["type"] != "http.disconnect":
            pass
        begun.append("left")
        raise ClientDisconnect

    async def scenario() -> None:
        async with serving(application=application) as server:
            caller = await server.connect()
            caller.send(request(b"abc")[:-1])
            await server.until(lambda it: begun)
            await caller.leave()
            await server.until(lambda it: begun[1:])
            # Whatever the task has to say it says in this turn of the loop.
            await server.connect()

    run(scenario())
    assert not caplog.records
