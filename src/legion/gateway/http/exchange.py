"""One prediction's way through the gateway, whichever way it came in: the gate, its place in the queue, its answer.

Shared by the three doors: the ASGI application (app.py), the shorter path under it (fast_path.py), and gRPC
(open_inference/grpc_service.py).
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Collection
from functools import lru_cache

from legion import wire
from legion.gateway.deployments.choice import Choice
from legion.gateway.deployments.observers import Answered
from legion.gateway.deployments.routes import Route
from legion.gateway.dispatch.pending import Left, Pending, Receive, Unanswered
from legion.gateway.http import compression
from legion.gateway.http.refusal import PASSING, Refusal, no_room, too_large
from legion.gateway.memory_budget import COPIES, MemoryBudget

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]

_BINARY = "application/octet-stream"
_JSON = (b"content-type", b"application/json")
_RETRY = (b"retry-after", b"1")
# A client would take the body of such an answer for the next answer.
_BODILESS = frozenset({204, 205, 304})
_READ = frozenset({b"content-type", b"content-length", b"content-encoding", b"x-request-id", b"request-id"})
# Made ids are unique to this process and count up.
_PREFIX = secrets.token_hex(6).encode() + b"-"
_count = itertools.count()


def _content_headers(content_type: str) -> Headers:
    """The content type, and what it says of binary data as the header that the protocol has for it."""
    kind, _, parameter = content_type.partition(";")
    if kind != _BINARY:
        return [(b"content-type", content_type.encode())]
    name, _, value = parameter.partition("=")
    return [(b"content-type", kind.encode()), (name.encode(), value.encode())]


class Exchange:
    """Made from a request's headers. `admit` it, `submit` its body, send the `answer` once that is settled, `close` it.

    `began` is the loop time of its arrival, in seconds; `length` the declared size of the body in bytes, or -1;
    `held` what it takes of the memory budget. Until it is closed, it is counted there.
    """

    __slots__ = (
        "began",
        "budget",
        "choice",
        "content_type",
        "deployment",
        "encoding",
        "gzips",
        "headers",
        "held",
        "length",
        "pending",
        "protocol",
        "request_id",
    )

    def __init__(self, headers: Headers, route: Route, budget: MemoryBudget) -> None:
        self.deployment, self.protocol = route
        self.headers = headers
        self.budget = budget
        self.held = 0
        self.began = self.deployment.now()
        self.choice: Choice | None = None
        self.pending: Pending | None = None
        self.content_type: str | None = None  # plain JSON
        self.encoding: str | None = None
        self.gzips = False
        self.length = -1
        self.request_id = b""
        for name, value in headers:
            if name not in _READ:
                continue
            if name == b"content-type":
                if value != b"application/json":
                    self.content_type = value.decode("latin-1")
            elif name == b"content-length":
                self.length = int(value)
            elif name == b"content-encoding":
                if value.lower() != b"identity":
                    self.encoding = value.decode("latin-1").lower()[:40]
            else:
                self.request_id = value
        if self.protocol.binary_header is not None or self.protocol.compresses:
            self._read_own_headers()
        if not self.request_id or len(self.request_id) > 128:
            self.request_id = _PREFIX + b"%x" % next(_count)

    def _read_own_headers(self) -> None:
        """Where a body's JSON ends and its binary data begins; whether the caller accepts gzip."""
        protocol = self.protocol
        for name, value in self.headers:
            if name == protocol.binary_header:
                self.content_type = f"{_BINARY};{name.decode()}={value.decode('latin-1')}"
            elif name == b"accept-encoding" and protocol.compresses:
                self.gzips = b"gzip" in value

    @property
    def deadline(self) -> float:
        """The loop time by which it has to be answered, in seconds."""
        return self.began + self.deployment.limits.timeout

    def admit(self, encodings: Collection[str]) -> str | None:
        """For a door that has still to read the body: refuse by the headers alone what cannot be answered.

        Returns the content encoding, one of those given, that the door then undoes. Raises Refusal.
        """
        encoding = self.encoding
        if encoding in encodings:
            self.encoding = None
        held = max(self.length, 0)
        self.hold(held)
        self.hold(0)
        return encoding

    def hold(self, size: int) -> None:
        """The gate, which nothing is queued without: count `size` bytes in all for the body. Raises Refusal."""
        if self.encoding is not None:
            raise Refusal(415, f"the content encoding {self.encoding!r} is not read here; send the body as it is")
        held = COPIES * size
        if size > self.deployment.limits.max_body or not self.budget.take(held - self.held):
            limit = min(self.deployment.limits.max_body, self.budget.limit // COPIES)
            raise too_large(limit) if size > limit else no_room()
        self.held = held

    def submit(self, body: bytes, receive: Receive | None) -> Pending:
        """Choose a release and queue the body, in one go: no swap comes between. Raises Refusal or Unanswered."""
        self.hold(len(body))
        self.choice = choice = self.deployment.choose(self.headers)
        if choice is None:
            raise Refusal(503, f"{self.deployment.name} has no version to answer with yet; try again in a moment")
        call = wire.Call(self.protocol.codec, body, self.content_type)
        self.pending = pending = choice.release.pool.submit(call, receive, self.began + self.deployment.limits.timeout)
        return pending

    def close(self) -> None:
        """Its answer is written, or nobody waits for it: count it no longer. A second call does nothing."""
        if self.held:
            self.budget.give(self.held)
            self.held = 0

    def answer(self, settled: wire.Reply | BaseException) -> Answer | None:
        """Status, headers and body for a reply or for the reason that there is none; None if the caller left."""
        reply = None
        if isinstance(settled, wire.Reply):
            reply = settled
            status, headers, body = self._replied(reply)
        elif isinstance(settled, Left):
            status, headers, body = 499, [], b""
        elif isinstance(settled, (Refusal, Unanswered)):
            refusal = Refusal.of(settled, self.deployment.limits)
            status, headers, body = refusal.status, refusal.headers, refusal.body(self.protocol)
        else:
            raise settled
        deployment, choice, pending = self.deployment, self.choice, self.pending
        if deployment.observers:
            call = None if pending is None else pending.call
            answered = Answered(self.request_id, status, deployment.now() - self.began, choice, call, reply)
            for observe in deployment.observers:
                observe(answered)
        if pending is not None:
            # It is not needed any more, and must not wait for the garbage collector.
            pending.call.body = b""
        if status == 499 and reply is None:
            return None
        size = len(body)
        if size > self.held:
            # It takes the place of the request.
            self.budget.add(size - self.held)
            self.held = size
        headers += (b"content-length", b"%d" % size), (b"x-request-id", self.request_id)
        if choice is not None:
            headers += choice.release.headers
        return status, headers, body

    def _replied(self, reply: wire.Reply) -> Answer:
        """What the worker replied."""
        status, body = reply.status, reply.body
        headers = [_JSON, self._timing(reply)]
        if status != 200:
            if status in PASSING:
                headers.append(_RETRY)
            elif status in _BODILESS:
                body = b""
        if reply.content_type is not None:
            headers[:1] = _content_headers(reply.content_type)
        if self.gzips and (smaller := compression.deflated(body)) is not None:
            body = smaller
            headers.append((b"content-encoding", b"gzip"))
        return status, headers, body

    def _timing(self, reply: wire.Reply) -> tuple[bytes, bytes]:
        """The times in milliseconds; all but the first are those of the whole batch."""
        assert self.pending is not None
        queued = int((self.pending.sent - self.pending.arrived) * 1e6)
        return b"server-timing", b"queue;dur=%b, decode;dur=%b, predict;dur=%b, encode;dur=%b" % (
            _milliseconds(queued),
            _milliseconds(reply.decode_us),
            _milliseconds(reply.predict_us),
            _milliseconds(reply.encode_us),
        )


@lru_cache(maxsize=8192)
def _milliseconds(microseconds: int) -> bytes:
    return b"%.3f" % (microseconds * 1e-3)
