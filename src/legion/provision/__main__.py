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
import traceback
from pathlib import Path

import msgspec

from legion.provision.follow import follow
from legion.provision.housekeeping import Housekeeping
from legion.provisioning_messages import Cancel, Delivery, Event, Failure, Mark, Order, Request
from legion.registry import versions

_logger = logging.getLogger("legion.provision")

# MLflow's own defaults wait for minutes on a server that is away; the next look comes soon enough.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


class Provisioner:
    """Attends to each order in a thread of its own."""

    def __init__(self, cache: Path, out: int) -> None:
        self._cache = cache
        self._out = out
        self._writing = threading.Lock()
        self._cancelled: dict[int, threading.Event] = {}
        self._housekeeping = Housekeeping(cache, os.environ)

    def take(self, request: Request) -> None:
        """Begin, cancel or note what was asked for; returns at once."""
        if isinstance(request, Order):
            self._cancelled[request.id] = threading.Event()
            threading.Thread(target=self._attend, args=(request,), daemon=True).start()
        elif isinstance(request, Cancel):
            if (cancelled := self._cancelled.pop(request.id, None)) is not None:
                cancelled.set()
        else:
            threading.Thread(target=_mark, args=(request,), daemon=True).start()

    def _attend(self, order: Order) -> None:
        cancelled = self._cancelled.get(order.id, threading.Event())
        try:
            follow(order, self._cache, self._emit, cancelled)
        except Exception as error:
            traceback.print_exc()
            self._emit(Failure(order.id, f"{order.model} could not be brought: {type(error).__name__}", "outside"))

    def _emit(self, event: Event) -> None:
        line = memoryview(msgspec.json.encode(event) + b"\n")
        with self._writing:
            while line:
                line = line[os.write(self._out, line) :]
        if isinstance(event, Delivery):
            self._housekeeping.delivered()


def _mark(mark: Mark) -> None:
    name, version = mark.registered.name, mark.registered.version
    if mark.reason is None:
        versions.clear_refused(name, version)
    elif not versions.mark_refused(name, version, mark.reason):
        _logger.warning("the registry was not told that %s version %s is refused", name, version)


def main(argv: list[str]) -> None:
    """`argv` is the cache folder."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print is a log line, not an event.
    out = os.dup(1)
    os.dup2(2, 1)
    provisioner = Provisioner(Path(argv[0]), out)
    decoder = msgspec.json.Decoder(Request)
    for line in sys.stdin.buffer:
        provisioner.take(decoder.decode(line))
    # Builders of environments and other children go too.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
