"""What a frame may hold. A worker sends what it likes; only what these types allow is believed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legion import wire
from legion.wire import Allow, Answers, Call, Drop, Piece, Plan, Reply, Report, Work

REPLY = Reply(200, b"body", "text/plain", rows=3, decode_us=1, predict_us=2, encode_us=3, stream=4, late=True)
MESSAGES = [
    Plan("wine", "3", "/models/wine", "gppi", served_as="cellar"),
    Report(error="it does not load", refused=True, merges=True, notes=("a", "b"), openapi={"x": [1]}),
    Work(7, [Call(wire.MLFLOW, b"{}", "text/csv", 12.5), Call(wire.LEGION, b"")]),
    Answers(7, [REPLY, Reply(400, b"")]),
    Piece(4, b"data", last=True, status=400, content_type="text/plain", predict_us=5),
    Allow(4, 2),
    Drop(9),
]


def body(message: object) -> bytes:
    return wire.frame(message)[wire.HEADER.size :]


def read(kind: type[Any], document: object) -> Any:
    """A document that may be anything, read as a message of this kind."""
    return wire.decoder(kind).decode(msgspec.msgpack.encode(document))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_read_as_it_was_written(message: object) -> None:
    assert wire.decoder(type(message)).decode(body(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_frame_says_how_long_it_is(message: object) -> None:
    frame = wire.frame(message)
    assert frame[:4] == (len(frame) - 4).to_bytes(4, "big")


def test_a_frame_that_its_head_cannot_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wire.MAX_FRAME == 2**32 - 1
    most = len(body(Drop(1)))
    monkeypatch.setattr(wire, "MAX_FRAME", most)
    wire.frame(Drop(1))
    monkeypatch.setattr(wire, "MAX_FRAME", most - 1)
    with pytest.raises(ValueError, match="at most 4 GiB"):
        wire.frame(Drop(1))


@pytest.mark.parametrize("message", MESSAGES[2:], ids=lambda message: type(message).__name__)
def test_what_comes_between_calls_and_answers_is_told_by_its_first_byte(message: object) -> None:
    assert wire.is_map(body(message)) is isinstance(message, (Piece, Allow, Drop))
    assert wire.is_map(bytearray(body(message))) is isinstance(message, (Piece, Allow, Drop))


def test_nothing_is_no_map() -> None:
    assert not wire.is_map(b"")


@pytest.mark.parametrize("notice", [Allow(4, 2), Drop(9)])
def test_notices_are_told_apart_by_their_tag(notice: object) -> None:
    assert msgspec.msgpack.Decoder(wire.Notice).decode(body(notice)) == notice


def test_what_is_left_out_has_its_default() -> None:
    """So that a worker may be older than the gateway."""
    assert read(Answers, [0, [[200, b""]]]) == Answers(0, [Reply(200, b"", None, 0, 0, 0, 0, 0, late=False)])
    assert read(Piece, {"stream": 1, "body": b""}) == Piece(1, b"", last=False, status=200)
    assert read(Report, {}) == Report(error=None, refused=False, merges=False, streams=False)


def test_what_is_not_known_is_passed_over() -> None:
    """And newer than it."""
    assert read(Report, {"merges": True, "charm": 7}) == Report(merges=True)
    assert read(Answers, [0, [[200, b"", None, 0, 0, 0, 0, 0, False, "charm"]]]) == Answers(0, [Reply(200, b"")])


@pytest.mark.parametrize("status", [-1, 0, 199, 600, 99999, 2**63, 200.5, "200", None, True])
def test_a_status_that_http_has_not_is_refused(status: object) -> None:
    for kind, document in ((Answers, [0, [[status, b""]]]), (Piece, {"stream": 1, "body": b"", "status": status})):
        with pytest.raises(msgspec.ValidationError):
            read(kind, document)


@pytest.mark.parametrize("count", [-1, 2**53 + 1, 2**64 - 1, 0.5, "1"])
@pytest.mark.parametrize("field", ["rows", "decode_us", "predict_us", "encode_us", "stream"])
def test_a_count_that_is_none_is_refused(field: str, count: object) -> None:
    fields: dict[str, object] = dict.fromkeys(("rows", "decode_us", "predict_us", "encode_us", "stream"), 0)
    read(Answers, [0, [[200, b"", None, *fields.values()]]])
    fields[field] = count
    with pytest.raises(msgspec.ValidationError):
        read(Answers, [0, [[200, b"", None, *fields.values()]]])


@pytest.mark.parametrize("first", [-1, 2**53 + 1, "0", None])
def test_a_number_that_no_call_has_is_refused(first: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(Answers, [first, []])


def is_content_type(text: str) -> bool:
    """Whether it may be one, in an answer and in a piece alike."""
    found = set()
    for kind, document in (
        (Answers, [0, [[200, b"", text]]]),
        (Piece, {"stream": 1, "body": b"", "content_type": text}),
    ):
        try:
            read(kind, document)
            found.add(True)
        except msgspec.ValidationError:
            found.add(False)
    (both,) = found
    return both


def test_only_what_a_header_may_hold_is_a_content_type() -> None:
    assert [chr(code) for code in range(0x180) if is_content_type(chr(code))] == [chr(code) for code in range(32, 127)]
    assert is_content_type("")
    assert is_content_type("a" * 256)
    assert not is_content_type("a" * 257)


@pytest.mark.parametrize("text", ["a\r\nset-cookie: b", "a\n", "\na", "a\x00", "aé"])
def test_no_content_type_begins_another_header(text: str) -> None:
    assert not is_content_type(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        body(Answers(0, []))[:-1],
        body(Answers(0, [])) + b"\x00",
        body({"path": "x"}).replace(b"\xa1x", b"\xa1\xff"),
        b"\x81\xa7openapi\x81\xa1a" + b"\x91" * 100_000 + b"\xc0",
    ],
    ids=lambda data: repr(data[:8]),
)
@pytest.mark.parametrize("kind", [Answers, Report, Piece])
def test_whatever_cannot_be_read_raises_one_of_a_few(kind: type[Any], data: bytes) -> None:
    with pytest.raises(wire.UNREADABLE):
        wire.decoder(kind).decode(data)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for kind in (Answers, Report, Piece):
        try:
            wire.decoder(kind).decode(data)
        except wire.UNREADABLE:
            continue
