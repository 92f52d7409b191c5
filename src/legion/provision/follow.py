"""One order: bring the model that a reference means, and again whenever it means another version."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from legion.documents.redaction import redacted
from legion.errors import LegionError, OutsideError, RefusedError, UsageError
from legion.provision.resolve import resolve
from legion.provisioning_messages import Bringing, Delivery, Failure, Kind, Notice, Order, Progress, Reach, Registered
from legion.reference import Reference, parse
from legion.registry import store

_logger = logging.getLogger("legion.provision")

# What failed for an outside reason (a store that is down, an index that does not answer) is tried again after
# this many seconds, doubled each time up to the second number.
_RETRY = (5.0, 300.0)

Emit = Callable[[Notice], None]


def follow(order: Order, cache: Path, emit: Emit, cancelled: threading.Event) -> None:
    """Deliver once, or until cancelled where the order asks to follow. Says every change once."""
    _Following(order, cache, emit, cancelled).run()


class _Following:
    def __init__(self, order: Order, cache: Path, emit: Emit, cancelled: threading.Event) -> None:
        self._order = order
        self._cache = cache
        self._emit = emit
        self._cancelled = cancelled
        self._known = order.known
        self._answered = False
        self._out_of_reach: str | None = None
        self._wait = _RETRY[0]
        self._failed: str | None = None
        self._retry_at = 0.0

    def run(self) -> None:
        """Until there is nothing more to bring."""
        try:
            reference = parse(self._order.model)
        except LegionError as error:
            self._emit(Failure(self._order.id, str(error), _kind(error)))
            return
        while not self._cancelled.is_set():
            self._look(reference)
            if self._order.follow is None or self._cancelled.wait(self._order.follow):
                return

    def _look(self, reference: Reference) -> None:
        """Bring what is new."""
        try:
            with _expected(self._order.model):
                version = store.resolve(reference) if _registered(reference) else None
        except LegionError as error:
            if self._order.follow is None:
                self._emit(Failure(self._order.id, str(error), _kind(error)))
            else:
                self._reach(str(error))
            return
        if self._out_of_reach is not None:
            self._reach(None)
        key = self._order.model if version is None else f"{version.name}/{version.version}/{version.made_at}"
        if not self._is_due(key):
            return
        if self._bring(reference, version, key):
            self._known, self._failed = key, None
        else:
            self._failed, self._retry_at = key, time.monotonic() + self._wait
            self._wait = min(self._wait * 2, _RETRY[1])

    def _is_due(self, key: str) -> bool:
        """Whether this version is to be brought now."""
        if key == self._failed:
            return time.monotonic() >= self._retry_at
        if key == self._known and self._failed is None:
            if not self._answered:
                self._reach(None)
            return False
        # Should it be the one that is known, it is brought once more: what failed is no longer wanted.
        self._failed, self._wait = None, _RETRY[0]
        return True

    def _bring(self, reference: Reference, version: store.RegisteredVersion | None, key: str) -> bool:
        """Whether this version needs no further look: it was delivered, or refused for good."""
        order, digest = self._order, None if version is None else version.digest
        registered = None if version is None else Registered(version.name, version.version)
        # The very version that was looked up: the alias may move on while it is fetched.
        text = reference.text if version is None else f"models:/{version.name}/{version.version}"
        again = key == self._failed
        if not again:
            self._answered = True
            self._emit(Bringing(order.id, key, digest, registered))
        try:
            with _expected(text):
                found = resolve(text, env=order.env, cache=self._cache, say=self._say, digest=digest)
                given = key if version is not None else _stamp(reference, found.digest)
        except LegionError as error:
            kind = _kind(error)
            if not again:
                self._emit(Failure(order.id, str(error), kind, key, digest, registered))
            return kind != "outside"
        digest = found.digest or digest
        self._emit(Delivery(order.id, given, found.plan, str(found.python), found.example, digest, registered))
        return True

    def _reach(self, reason: str | None) -> None:
        if reason != self._out_of_reach or not self._answered:
            self._out_of_reach, self._answered = reason, True
            self._emit(Reach(self._order.id, reason))

    def _say(self, line: str) -> None:
        # What is tried once more in vain was said already.
        if self._failed is None:
            self._emit(Progress(self._order.id, line))


@contextmanager
def _expected(what: str) -> Iterator[None]:
    """Make whatever is raised inside an error that a Failure can tell, and log what nobody expected."""
    try:
        yield
    except LegionError:
        raise
    # Also SystemExit: what a model's own files or a store's plug-in do must not end the following.
    except BaseException as error:
        _logger.exception("%s could not be brought", what)
        reason = f"{type(error).__name__}: {redacted(str(error))[:300]}".removesuffix(": ")
        raise OutsideError(f"{what} could not be brought ({reason}); see the gateway's log") from error


def _registered(reference: Reference) -> bool:
    """Whether the reference names a version in the registry, which an alias or a stage may move."""
    return reference.scheme == "models" and bool(reference.alias or reference.version)


def _stamp(reference: Reference, digest: str | None) -> str:
    """Tells apart what one path holds at different times."""
    if digest is not None or reference.scheme != "path":
        return digest or reference.text
    files = (path for path in reference.path.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return f"{reference.text}@{max((path.stat().st_mtime_ns for path in files), default=0)}"


def _kind(error: LegionError) -> Kind:
    if isinstance(error, UsageError):
        return "usage"
    return "refused" if isinstance(error, RefusedError) else "outside"
