"""One prediction's way through the gateway: what its headers say, its place in the queue, its answer.

Shared by the two ways in: the ASGI application (app.py) and the shorter one under it (fast_path.py).
"""

from __future__ import annotations

import itertools
import secrets

from legion import wire
from legion.gateway.deployments.choice import Choice
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.observers import Answered
from legion.gateway.dispatch.pending import Crashed, Left, Pending, QueueFull, Receive, TooLate
from legion.gateway.http import compression
from legion.gateway.http.refusal import Refusal
from legion.gateway.protocols.protocol import Protocol

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]

_BINARY = "application/octet-stream"
_JSON = (b"content-type", b"application/json")
# Statuses that may pass, so that another try is worth it.
_PASSING = (429, 503, 504)
_RETRY = (b"retry-after", b"1")
# Made ids are unique to this process and count up.
_PREFIX = secrets.token_hex(6).encode()
_count = itertools.count()


def too_large(limit: int) -> Refusal:
    """The refusal of a body of more than so many bytes."""
    return Refusal(413, f"the body is over the limit of {limit} bytes; send fewer rows at a time")


def _content_headers(content_type: str) -> Headers:
    """The content type, and what it says of binary data as the header that the protocol has for it."""
    kind, _, parameter = content_type.partition(";")
    if kind != _BINARY:
        return [(b"content-type", content_type.encode())]
    name, _, value = parameter.partition("=")
    return [(b"content-type", kind.encode()), (name.encode(), value.encode())]


class Exchange:
    """Made from a request's headers; `submit` with the body, then `answer` when that is settled."""

    __slots__ = (
        "began",
        "choice",
        "content_type",
        "deployment",
        "encoding",
        "gzips",
        "headers",
        "length",
        "pending",
        "protocol",
        "request_id",
    )

    def __init__(self, headers: Headers, deployment: Deployment, protocol: Protocol) -> None:
        self.deployment = deployment
        self.protocol = protocol
        self.headers = headers
        self.began = deployment.now()
        self.choice: Choice | None = None
        self.pending: Pending | None = None
        self.content_type: str | None = None  # plain JSON
        self.encoding: str | None = None
        self.gzips = False
        self.length = -1
        self.request_id = b""
        for name, value in headers:
            if name == b"content-type":
                if value != b"application/json":
                    self.content_type = value.decode("latin-1")
            elif name == b"content-length":
                self.length = int(value)
            elif name in (b"x-request-id", b"request-id"):
                self.request_id = value
            elif name == b"content-encoding" and value.lower() != b"identity":
                self.encoding = value.decode("latin-1").lower()[:40]
        if protocol.binary_header is not None or protocol.compresses:
            self._read_own_headers()
        if not self.request_id or len(self.request_id) > 128:
            self.request_id = b"%b-%x" % (_PREFIX, next(_count))

    def _read_own_headers(self) -> None:
        """Where a body's JSON ends and its binary data begins; whether the caller accepts gzip."""
        protocol = self.protocol
        for name, value in self.headers:
            if name == protocol.binary_header:
                self.content_type = f"{_BINARY};{name.decode()}={value.decode('latin-1')}"
            elif name == b"accept-encoding" and protocol.compresses:
                self.gzips = b"gzip" in value

    def check(self) -> None:
        """Raise Refusal for an encoding that is not read."""
        if self.encoding is not None and self.encoding not in compression.KNOWN:
            raise Refusal(415, f"the content encoding {self.encoding!r} is not read here; send the body as it is")

    def submit(self, body: bytes, receive: Receive | None) -> Pending:
        """Choose a release and queue the body, in one go: no swap comes between. Raises Refusal or QueueFull."""
        limit = self.deployment.limits.max_body
        if len(body) > limit:
            raise too_large(limit)
        self.choice = choice = self.deployment.choose(self.headers)
        if choice is None:
            raise Refusal(503, f"{self.deployment.name} has no version to answer with yet; try again in a moment", 1)
        call = wire.Call(self.protocol.codec, body, self.content_type)
        self.pending = choice.release.pool.submit(call, receive, self.began + self.deployment.limits.timeout)
        return self.pending

    def answer(self, settled: wire.Reply | BaseException) -> Answer | None:
        """Status, headers and body for a reply or for the reason that there is none; None if the caller left."""
        reply = None
        body = b""
        if isinstance(settled, wire.Reply):
            reply = settled
            status, headers, body = self._replied(reply)
        elif isinstance(settled, Left):
            status, headers = 499, []
        elif isinstance(settled, (Refusal, QueueFull, TooLate, Crashed)):
            refusal = Refusal.of(settled, self.deployment.limits)
            status, headers, body = refusal.status, refusal.headers, refusal.body(self.protocol)
        else:
            raise settled
        self._tell(status, reply)
        if status == 499:
            return None
        headers += (b"content-length", b"%d" % len(body)), (b"x-request-id", self.request_id)
        if self.choice is not None:
            headers += self.choice.release.headers
        return status, headers, body

    def _replied(self, reply: wire.Reply) -> Answer:
        """What the worker replied."""
        status, body = reply.status, reply.body
        headers = [_JSON, self._timing(reply)]
        if status in _PASSING:
            headers.append(_RETRY)
        if reply.content_type is not None:
            headers[:1] = _content_headers(reply.content_type)
        if self.gzips and (smaller := compression.deflated(body)) is not None:
            body = smaller
            headers.append((b"content-encoding", b"gzip"))
        return status, headers, body

    def _tell(self, status: int, reply: wire.Reply | None) -> None:
        """Let the deployment's observers know of the answer."""
        deployment = self.deployment
        if not deployment.observers:
            return
        call = None if self.pending is None else self.pending.call
        answered = Answered(self.request_id, status, deployment.now() - self.began, self.choice, call, reply)
        for observe in deployment.observers:
            observe(answered)

    def _timing(self, reply: wire.Reply) -> tuple[bytes, bytes]:
        """The times in milliseconds; all but the first are those of the whole batch."""
        assert self.pending is not None
        return b"server-timing", b"queue;dur=%.3f, decode;dur=%.3f, predict;dur=%.3f, encode;dur=%.3f" % (
            (self.pending.sent - self.pending.arrived) * 1e3,
            reply.decode_us * 1e-3,
            reply.predict_us * 1e-3,
            reply.encode_us * 1e-3,
        )
