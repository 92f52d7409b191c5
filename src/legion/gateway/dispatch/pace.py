"""How long a model takes, learnt from its answers: how much it is given at once and how much may wait follow.

All times are in seconds.
"""

from __future__ import annotations

import math

from legion.gateway.limits import Limits

# Calls that are predicted one by one share a frame while they take no longer than this together.
_FRAME_SECONDS = 0.002
_FRAME_CALLS = 32
# A worker whose frames take less than this is given the next one ahead, else it stands idle until the gateway comes
# back to it. Where calls are merged, slower models gain more from a larger batch.
_AHEAD = 0.005
_AHEAD_MERGED = 0.002
# The share of a request's time that may pass until it is answered, as far as can be foreseen.
_PATIENCE = 0.8
# A merged batch may take this share of the timeout, or twice what it takes whatever its size.
_BATCH_SHARE = 1 / 3
# How long callers who were answered are waited for: at most this, and at most this share of a batch.
_LINGER = 0.003
_LINGER_SHARE = 0.1
# How much of what was learnt before counts, beside what came last.
_MEMORY = 0.8


class Pace:
    """Of a model that predicts calls one by one, on so many workers.

    size         how many calls a worker is given at once
    ahead        whether a worker is given more before it has answered
    room         how many calls may wait for a worker and still be answered in time
    retry_after  whole seconds until there may be room again
    linger       how long a free worker waits for those who were just answered to call again
    """

    def __init__(self, limits: Limits, workers: int) -> None:
        self._workers = workers
        self.relearn(limits)

    def relearn(self, limits: Limits) -> None:
        """Begin anew: the model is not what it was, or other limits hold."""
        self._limits = limits
        # What a call takes; None before the first answer.
        self._seconds: float | None = None
        # What takes less than this teaches nothing more: quick models need not be watched closely.
        self._settled = 0.0
        self.size = 1
        self.ahead = False
        self.room = limits.queue
        self.retry_after = max(1, min(30, math.ceil((1 - _PATIENCE) * limits.timeout)))
        self.linger = 0.0

    def learn(self, calls: int, seconds: float) -> None:
        """So many calls, given to a worker at once, took so long."""
        if seconds < self._settled * calls:
            return
        known = self._seconds = _blended(self._seconds, seconds / calls)
        self.size = max(1, min(_FRAME_CALLS, self._limits.batch, int(_FRAME_SECONDS / max(known, 1e-9))))
        self.ahead = known * self.size < _AHEAD
        # One is being answered, and one is the request itself.
        self.room = self._room(int(min((self._time / max(known, 1e-9) - 2) * self._workers, 1e9)))
        plenty = self.size == _FRAME_CALLS and self.room == self._limits.queue
        self._settled = _FRAME_SECONDS / _FRAME_CALLS if plenty else 0.0

    @property
    def _time(self) -> float:
        return _PATIENCE * self._limits.timeout

    def _room(self, calls: int) -> int:
        # One may always wait, so that no worker has to.
        return max(self._workers, min(self._limits.queue, calls))

    def answered_at(self, position: int, now: float, since: float) -> float:
        """When a call at this place of the queue, from 0, will be answered, as far as can be foreseen.

        `since` is when the worker that will be free next began with what it has.
        """
        known = self._seconds
        return now if known is None else max(now, since + known) + known * (position // self._workers + 1)


class BatchPace(Pace):
    """Of a model that predicts calls together. A batch takes a fixed part, and a part for each call in it."""

    def relearn(self, limits: Limits) -> None:
        """Begin anew: the model is not what it was, or other limits hold."""
        super().relearn(limits)
        self._mean_calls = self._variance = self._covariance = self._each = 0.0
        self._full = limits.batch

    def learn(self, calls: int, seconds: float) -> None:
        """A batch of so many calls took so long."""
        if seconds < self._settled and calls < self.size:
            return
        self._fit(calls, seconds)
        mean = self._seconds or 0.0
        fixed = max(0.0, mean - self._each * self._mean_calls)
        # Beyond that, more calls in a batch gain little and wait long.
        most = max(_BATCH_SHARE * self._limits.timeout, 2 * fixed)
        self._full = max(1, min(self._limits.batch, int((most - fixed) / max(self._each, 1e-9))))
        # What was not tried yet is tried step by step.
        self.size = max(1, min(self._full, self.size * 2 if calls >= self.size else self.size))
        self._batch = fixed + self._each * self._full
        self.room = self._room(self._full * self._workers * max(0, int(self._time / max(self._batch, 1e-9)) - 1))
        self.ahead = mean < _AHEAD_MERGED
        self.linger = 0.0 if self.ahead else min(_LINGER, _LINGER_SHARE * mean)
        self._settled = _AHEAD_MERGED / 2 if self.ahead and self.room == self._limits.queue else 0.0

    def _fit(self, calls: int, seconds: float) -> None:
        """A line through what batches took, what came last counting most."""
        known = self._seconds
        if known is None:
            self._seconds, self._mean_calls = seconds, calls
            return
        share = 1 - _MEMORY
        # One outlier says little about the next; a larger batch may well take longer in proportion.
        most = 4 * known * max(1.0, calls / self._mean_calls) + 0.01
        off_calls, off_seconds = calls - self._mean_calls, min(seconds, most) - known
        self._mean_calls += share * off_calls
        self._seconds = known + share * off_seconds
        self._variance = _MEMORY * (self._variance + share * off_calls * off_calls)
        self._covariance = _MEMORY * (self._covariance + share * off_calls * off_seconds)
        # Batches of one size say nothing of others.
        if self._variance > 0.01 * self._mean_calls * self._mean_calls:
            self._each = max(0.0, self._covariance / self._variance)

    def answered_at(self, position: int, now: float, since: float) -> float:
        """When a call at this place of the queue, from 0, will be answered, as far as can be foreseen."""
        if self._seconds is None:
            return now
        return max(now, since + self._seconds) + self._batch * (position // (self._full * self._workers) + 1)


def _blended(known: float | None, sample: float) -> float:
    """What is known with what came last. One outlier says little about the next."""
    return sample if known is None else known + (1 - _MEMORY) * (min(sample, 4 * known + 0.001) - known)
