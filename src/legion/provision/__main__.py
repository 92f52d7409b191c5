"""The provisioner: orders on standard input, events on standard output, one JSON object a line.

A process of its own, so that MLflow is imported once, away from the gateway, and a download or an environment
that is being made never holds up a prediction. It ends, with all that it started, when its input does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from legion.provision.follow import follow
from legion.provision.housekeeping import Housekeeping
from legion.provision.lines import line
from legion.provisioning_messages import Cancel, Delivery, Failure, Mark, Notice, Order, Request
from legion.registry import versions

_logger = logging.getLogger("legion.provision")

# MLflow's own defaults wait for minutes on a server that is away; the next look comes soon enough.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}

Write = Callable[[bytes], None]


class Provisioner:
    """Attends to each order in a thread of its own. `write` gets one whole line at a time."""

    def __init__(self, cache: Path, write: Write) -> None:
        self._cache = cache
        self._write = write
        self._writing = threading.Lock()
        self._cancelled: dict[int, threading.Event] = {}
        self._housekeeping = Housekeeping(cache, os.environ)

    def take(self, request: Request) -> None:
        """Begin, cancel or note what was asked for; returns at once."""
        if isinstance(request, Order):
            cancelled = self._cancelled[request.id] = threading.Event()
            self._begin(request, lambda: self._attend(request, cancelled))
        elif isinstance(request, Cancel):
            if (found := self._cancelled.pop(request.id, None)) is not None:
                found.set()
        else:
            self._begin(request, lambda: _mark(request))

    def _begin(self, request: Order | Mark, work: Callable[[], None]) -> None:
        try:
            threading.Thread(target=work, daemon=True).start()
        except RuntimeError as error:
            _logger.exception("no thread could be started")
            if isinstance(request, Order):
                self._fail(request, error)

    def _attend(self, order: Order, cancelled: threading.Event) -> None:
        try:
            follow(order, self._cache, self._emit, cancelled)
        # Also SystemExit, which would end the thread without a word.
        except BaseException as error:
            _logger.exception("%s could not be brought", order.model)
            self._fail(order, error)
        finally:
            self._cancelled.pop(order.id, None)

    def _fail(self, order: Order, error: BaseException) -> None:
        reason = f"{order.model} could not be brought ({type(error).__name__}); see the gateway's log"
        self._emit(Failure(order.id, reason, "outside"))

    def _emit(self, notice: Notice) -> None:
        encoded = line(notice)
        with self._writing:
            self._write(encoded)
        if isinstance(notice, Delivery):
            self._housekeeping.delivered()


def _mark(mark: Mark) -> None:
    name, version = mark.registered.name, mark.registered.version
    if mark.reason is None:
        versions.clear_refused(name, version)
    elif not versions.mark_refused(name, version, mark.reason):
        _logger.warning("the registry was not told that %s version %s is refused", name, version)


def _to(descriptor: int) -> Write:
    def write(encoded: bytes) -> None:
        rest = memoryview(encoded)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    return write


def main(argv: list[str]) -> None:
    """`argv` is the cache folder."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print is a log line, not an event.
    out = os.dup(1)
    os.dup2(2, 1)
    provisioner = Provisioner(Path(argv[0]), _to(out))
    decoder = msgspec.json.Decoder(Request)
    for request in sys.stdin.buffer:
        try:
            provisioner.take(decoder.decode(request))
        except msgspec.DecodeError as error:
            _logger.error("a request cannot be read (%s): %r", error, request[:200])
    # Builders of environments and other children go too.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
