"""One worker: read the plan, load the model, prove the shortcuts, report, then answer batches until told to stop.

Runs inside the model's environment, on one blocking socket. It ends when the socket closes; should the parent
die while the model is busy, the lifeline (a pipe whose other end only the parent holds) ends it and its children.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from time import monotonic
from typing import List, Optional

from legion import logs, wire
from legion.errors import LegionError, RefusedError
from legion.interface.model import StreamingModel
from legion.worker import proof
from legion.worker.batch import Answerer
from legion.worker.channel import Channel
from legion.worker.inbox import Inbox
from legion.worker.memory import LARGE, give_back
from legion.worker.read_only import import_without_writing
from legion.worker.streams import Streams

_logger = logging.getLogger("legion.worker")

# Replies that are made within so many seconds, and hold no more than so many bytes, share a frame.
_TOGETHER = 0.002
_FRAME = 16 * 1024 * 1024


def main(argv: List[str]) -> None:
    """`argv` is the number of the socket's file descriptor, then the lifeline's."""
    # Libraries make a million objects that all stay; looking for garbage among them is waste.
    gc.disable()
    descriptor, lifeline = int(argv[0]), int(argv[1])
    _die_with_parent(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure("%(name)s: %(message)s")
    channel = Channel(socket.socket(fileno=descriptor))
    first = channel.receive()
    if first is None:
        return
    plan = wire.decoder(wire.Plan).decode(first)
    answerer = _prepare(plan, channel)
    if answerer is not None:
        with contextlib.suppress(OSError):
            _serve(channel, answerer)
    # A model's leftover threads must not keep the process, nor its children live on.
    sys.stderr.flush()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _prepare(plan: wire.Plan, channel: Channel) -> Optional[Answerer]:
    """Load and prove the model and report; None where it cannot be served."""
    import_without_writing(Path(plan.folder))
    try:
        proven = proof.prove(plan)
    except LegionError as error:
        channel.send(wire.Report(error=str(error), refused=isinstance(error, RefusedError)))
        return None
    except BaseException as error:
        traceback.print_exc()
        channel.send(wire.Report(error=f"loading the model raised {type(error).__name__}: {error}"))
        return None
    name = plan.served_as or plan.name
    answerer = Answerer(proven.model, merges=proven.merges, name=name, version=plan.version)
    if isinstance(proven.model, StreamingModel) and not plan.reference:
        answerer.streams = Streams(proven.model, channel.send, answerer.failed)
    channel.send(proven.report)
    # What is loaded stays; the collector need not look at it again.
    gc.freeze()
    gc.enable()
    return answerer


def _serve(channel: Channel, answerer: Answerer) -> None:
    streams = answerer.streams
    inbox = Inbox(channel, _ignore if streams is None else streams.allow)
    while (work := inbox.next()) is not None:
        if _answer(channel, inbox, answerer, work) >= LARGE:
            del work
            inbox.forget()
            give_back()
        if streams is not None:
            streams.start()


def _ignore(message: wire.Allow) -> None:
    """Of a stream that there is not."""


def _answer(channel: Channel, inbox: Inbox, answerer: Answerer, work: wire.Work) -> int:
    """Send the replies as they are made, a few milliseconds' worth in one frame, so that the parent sees progress.

    Returns how many bytes the calls and the replies have in all.
    """
    first, calls = work.first, work.calls
    if len(calls) == 1:
        reply = answerer.answer_one(calls[0])
        channel.send(wire.Answers(first, [reply]))
        return len(calls[0].body) + len(reply.body)
    ready: wire.Replies = []
    size, total, sent = 0, sum([len(call.body) for call in calls]), monotonic()
    for replies in answerer.replies(calls):
        made = sum([len(reply.body) for reply in replies])
        total += made
        if size + made <= _FRAME:
            ready += replies
            size += made
        else:
            for reply in replies:
                if ready and size + len(reply.body) > _FRAME:
                    channel.send(wire.Answers(first, ready))
                    first, ready, size = first + len(ready), [], 0
                ready.append(reply)
                size += len(reply.body)
        if first + len(ready) == work.first + len(calls):
            break
        if (now := monotonic()) - sent > _TOGETHER:
            channel.send(wire.Answers(first, ready))
            first, ready, size, sent = first + len(ready), [], 0, now
        # Who has left is not worked for.
        inbox.look()
    if ready:
        channel.send(wire.Answers(first, ready))
    return total


def _die_with_parent(lifeline: int) -> None:
    if sys.platform == "linux":
        # The kernel kills the group when the pipe closes, also where native code holds the interpreter.
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)

    def watch() -> None:
        os.read(lifeline, 1)
        os.killpg(0, signal.SIGKILL)

    # Elsewhere, and where the parent was gone before the kernel was asked.
    threading.Thread(target=watch, name="lifeline", daemon=True).start()
