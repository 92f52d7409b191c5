"""Which variant a request goes to."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from legion.gateway.traffic.split import by_weight


@pytest.mark.parametrize("weights", [(90, 10), (1, 99), (33.3, 33.3, 33.4), (100,), (0, 100), (100, 0)])
@pytest.mark.parametrize("sticky", [None, "x-user-id"])
def test_the_shares_are_the_weights(weights: Any, sticky: str | None) -> None:
    choose = by_weight(weights, sticky, random.random)
    count = 20_000
    got = Counter(choose([(b"x-user-id", b"user-%d" % number)]) for number in range(count))
    for place, weight in enumerate(weights):
        expected = weight / 100
        # Five standard deviations.
        assert abs(got[place] / count - expected) <= 5 * (expected * (1 - expected) / count) ** 0.5


def test_a_caller_keeps_his_variant_while_weights_grow() -> None:
    before, after = by_weight((90, 10), "x-user-id", random.random), by_weight((80, 20), "x-user-id", random.random)
    for number in range(1000):
        headers = [(b"host", b"x"), (b"x-user-id", b"%d" % number)]
        assert before(headers) == before(list(headers))
        # Who was with the second stays there when it gets more.
        assert after(headers) >= before(headers)


def test_a_caller_without_the_header_is_drawn() -> None:
    choose = by_weight((50, 50), "x-user-id", random.random)
    assert {choose([(b"host", b"x")]) for _ in range(200)} == {0, 1}
