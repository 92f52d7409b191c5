"""Compressed bodies are inflated in linear time, within their bounds, and only while somebody waits for them."""

from __future__ import annotations

import gzip
import itertools
import random
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legion.gateway.http.compression import inflated
from legion.gateway.http.offload import Stopped
from legion.gateway.http.refusal import Refusal

MIB = 1024 * 1024


def never() -> bool:
    return False


def refusal(body: bytes, limit: int) -> int:
    with pytest.raises(Refusal) as caught:
        inflated(body, limit, never)
    return caught.value.status


pieces = st.one_of(
    st.binary(max_size=400),
    st.integers(0, 300_000).map(bytes),
    st.integers(0, 200_000).map(lambda size: random.Random(size).randbytes(size)),
)


@given(st.lists(pieces, max_size=6), st.sampled_from([0, 1, 9]))
def test_what_was_compressed_is_read_whole(parts: list[bytes], level: int) -> None:
    whole = b"".join(parts)
    members = b"".join(gzip.compress(part, level) for part in parts)
    assert inflated(members, len(whole), never) == whole
    assert inflated(zlib.compress(whole, level), len(whole), never) == whole
    if whole:
        assert refusal(members, len(whole) - 1) == 413
        assert refusal(zlib.compress(whole, level)[:-1], len(whole)) == 400
        assert refusal(members + b"x", len(whole)) == 400


def test_members_are_read_in_linear_time_and_counted() -> None:
    member = gzip.compress(b"")

    def seconds(members: int) -> float:
        start = time.process_time()
        assert inflated(member * members, 10, never) == b""
        return time.process_time() - start

    few, many = (min(seconds(members) for _ in range(3)) for members in (10_000, 40_000))
    assert many < 9 * few
    assert refusal(member * 100_000, 10) == 400


def test_it_stops_within_a_few_milliseconds_when_told_to() -> None:
    body = zlib.compress(bytes(64 * MIB))
    asked: list[float] = []

    def stop() -> bool:
        asked.append(time.thread_time())
        return len(asked) > 200

    with pytest.raises(Stopped):
        inflated(body, 64 * MIB, stop)
    assert len(asked) == 201
    assert sorted(after - before for before, after in itertools.pairwise(asked))[-20] < 0.01
