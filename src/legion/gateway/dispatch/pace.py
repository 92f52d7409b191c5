"""How long a model takes, learnt from its answers: how much it is given at once and how much may wait follow."""

from __future__ import annotations

import math

from legion.gateway.limits import Limits

# Calls that are predicted one by one share a frame while they take no longer than this together, in seconds.
_FRAME_SECONDS = 0.002
_FRAME_CALLS = 32
# A worker whose frames take less than this is given the next one ahead, else it stands idle until the gateway comes
# back to it. Where calls are merged, slower models gain more from a larger batch.
_AHEAD_MERGED = 0.002
_AHEAD_SINGLE = 0.005
# The share of a request's time that what waits before it may take up.
_PATIENCE = 0.8
# A merged batch may take this share of the timeout.
_BATCH_SHARE = 1 / 3
# How long callers who were answered are waited for: at most this, in seconds, and at most this share of a batch.
_LINGER = 0.003
_LINGER_SHARE = 0.1


class Pace:
    """The pace of one model version on `workers` workers, all times in seconds.

    size     how many calls a worker is given at once
    ahead    whether a worker is given more before it has answered
    room     how many calls may wait for a worker and still be answered in time
    retry_after  whole seconds until there may be room again
    linger   how long a free worker waits for those who were just answered to call again
    """

    def __init__(self, limits: Limits, *, merges: bool, workers: int) -> None:
        self.merges = merges
        self._workers = workers
        self.relearn(limits)

    def relearn(self, limits: Limits) -> None:
        """Begin anew: the model is not what it was, or other limits hold."""
        self._limits = limits
        # Of one call, or of one batch where calls are merged; None before the first answer.
        self._seconds: float | None = None
        self._shortest = math.inf
        self._shrunk = False
        self.size = 1
        self.ahead = False
        self.room = limits.queue
        # Seconds after which another try is worth it, where there is no more room.
        self.retry_after = 1
        self.linger = 0.0

    def learn(self, calls: int, seconds: float) -> None:
        """So many calls, given to a worker at once, took so long."""
        sample = seconds if self.merges else seconds / calls
        known = self._seconds
        # One outlier says little about the next call.
        self._seconds = known = sample if known is None else known + 0.25 * (min(sample, 4 * known + 1e-3) - known)
        if self.merges:
            self._learn_merged(calls, seconds)
        else:
            self.size = max(1, min(_FRAME_CALLS, self._limits.batch, int(_FRAME_SECONDS / known) if known else 1))
            self.ahead = known * self.size < _AHEAD_SINGLE
        self.room = self._room(known)
        # By then a good part of what waits is answered.
        self.retry_after = max(1, min(30, math.ceil((1 - _PATIENCE) * self._limits.timeout)))

    def _learn_merged(self, calls: int, seconds: float) -> None:
        """Batches double while they are full, up to what the limits and the timeout allow."""
        target = _BATCH_SHARE * self._limits.timeout
        self._shortest = min(seconds, self._shortest + 0.05 * (seconds - self._shortest)) if calls else self._shortest
        # A batch that takes long whatever its size is not made smaller.
        if seconds > target and seconds > 2 * self._shortest:
            self.size, self._shrunk = max(1, int(calls * target / seconds)), True
        elif calls >= self.size:
            more = max(1, self.size // 8) if self._shrunk else self.size
            self.size = min(self._limits.batch, self.size + more)
        self.ahead = seconds < _AHEAD_MERGED
        self.linger = 0.0 if self.ahead else min(_LINGER, _LINGER_SHARE * seconds)

    def answered_at(self, position: int, now: float, since: float) -> float:
        """When a call at this place of the queue, from 0, will be answered, as far as can be foreseen.

        `since` is when the worker that will be free next began with what it has.
        """
        known = self._seconds
        if known is None:
            return now
        ahead = position // (self._full * self._workers) if self.merges else position // self._workers
        return max(now, since + known) + known * (ahead + 1)

    def _room(self, known: float) -> int:
        batches = _PATIENCE * self._limits.timeout / max(known, 1e-9) - 2
        calls = batches * self._workers * (self._full if self.merges else 1)
        # One may always wait, so that no worker has to.
        return max(self._workers, min(self._limits.queue, int(min(calls, 1e9))))

    @property
    def _full(self) -> int:
        """Calls in a full batch, as far as is known."""
        return self.size if self._shrunk else self._limits.batch
