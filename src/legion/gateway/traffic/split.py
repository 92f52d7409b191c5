"""Which variant a request goes to: by weight, and for one caller always the same where a header says who it is."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

Headers = list[tuple[bytes, bytes]]
Choose = Callable[[Headers], int]


def by_weight(weights: Sequence[float], sticky: str | None, random: Callable[[], float]) -> Choose:
    """A function of a request's headers that gives the place of the chosen one of these weights (sum 100)."""
    # The last bound is open, so that rounding leaves no gap at the end.
    bounds = list(accumulate(weights))[:-1]
    if sticky is None:
        return lambda headers: bisect_right(bounds, random() * 100)
    header = sticky.encode()

    def choose(headers: Headers) -> int:
        for name, value in headers:
            if name == header:
                # Every gateway of a fleet puts the caller into the same place.
                return bisect_right(bounds, zlib.crc32(value) / 2**32 * 100)
        return bisect_right(bounds, random() * 100)

    return choose
