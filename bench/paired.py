"""The ratio of two sides that were measured in pairs, with a 95 % confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median

import msgspec

# With fewer pairs the signed-rank test has no 95 % interval.
FEWEST = 6
_Z = NormalDist().inv_cdf(0.975)


class Ratio(msgspec.Struct, frozen=True):
    """An estimate, and the interval that holds the true ratio with 95 % confidence."""

    estimate: float
    low: float
    high: float


def ratio(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """How many times the second of each pair the first is.

    This is the Hodges-Lehmann estimate of the log ratios with the interval of Wilcoxon's signed-rank test: unlike a
    mean, neither moves much when the machine was busy in a few of the rounds. Raises ValueError for fewer than FEWEST
    pairs.
    """
    count = len(pairs)
    if count < FEWEST:
        raise ValueError(f"at least {FEWEST} pairs are needed for an interval, not {count}")
    logs = [math.log(one / other) for one, other in pairs]
    averages = sorted((logs[i] + logs[j]) / 2 for i in range(count) for j in range(i, count))
    # The normal approximation of the test's critical value.
    spread = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    outside = max(0, math.floor(len(averages) / 2 - _Z * spread))
    return Ratio(math.exp(median(averages)), math.exp(averages[outside]), math.exp(averages[-1 - outside]))
