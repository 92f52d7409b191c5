"""The Open Inference Protocol over gRPC, in the gateway's own event loop.

Every call is what the same request over REST is: an inference takes its place in the same queue, under the same
limits; for the rest the gateway's own paths are asked and their answers are put into messages.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
import msgspec
from google.protobuf import json_format

from legion import wire
from legion.errors import OutsideError
from legion.gateway.dispatch.pending import Left, Unanswered
from legion.gateway.http.app import Gateway
from legion.gateway.http.exchange import Exchange, Headers
from legion.gateway.http.offload import Stop, offload
from legion.gateway.http.refusal import Refusal, no_room
from legion.gateway.memory_budget import COPIES
from legion.gateway.open_inference.grpc_messages import SERVICE, message, read
from legion.gateway.open_inference.grpc_tensors import body_of, response_of, size_of

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_T = TypeVar("_T")
# Makes the answer to a message that began to arrive at this time of the loop.
_Answer: TypeAlias = Callable[[Any, _Context, float], Awaitable[bytes]]

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# A status' sentence is a header, and a client takes 8 KiB of them.
_LONGEST = 600
# What a model and a version can be called; nothing else gets into a path.
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,140}")
# Metadata that says something of the HTTP/2 request, not of the inference.
_NOT_ITS_OWN = ("content-type", "content-length", "accept-encoding", "inference-header-", "grpc-")
_ANSWERED = ("x-request-id", "model-name", "model-version", "server-timing", "retry-after")
_HEADER_LENGTH = "inference-header-content-length"
# gzip and deflate; no message of the service begins so.
_COMPRESSED = (b"\x1f\x8b", b"\x78")
# Milliseconds until a connection is up, and until one without a call is told to go.
_HANDSHAKE = 20_000
_IDLE = 300_000
# More bytes than this are read and written beside the loop, for so many seconds at most: which model's limits hold is
# not known before a message is read.
_LARGE, _LONGEST_WORK = 64 * 1024, 60.0
# Calls at once; more are refused with RESOURCE_EXHAUSTED before their message is received.
_MOST_CALLS = 8192
# Messages that are received at once, however much memory there is.
_MOST_ARRIVING = 64


class GrpcService:
    """Made in the loop that it serves in; the address is taken at once, `run` serves until it is told to stop."""

    def __init__(
        self, gateway: Gateway, host: str, port: int, *, max_body: int, max_connections: int, timeout: float
    ) -> None:
        """Connections beyond `max_connections` are refused, and messages of more than `max_body` bytes or that take
        longer than `timeout` seconds to arrive.

        Raises OutsideError if the address is taken.
        """
        self._gateway = gateway
        self._max_body = max_body
        self._timeout = timeout
        # A message says nothing of its size before it is there. All that arrive at once fit into the budget once more;
        # gRPC has each a second time while it hands it over.
        self._arriving = asyncio.Semaphore(min(_MOST_ARRIVING, max(1, gateway.budget.limit // (COPIES * max_body))))
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=_MOST_CALLS,
            options=(
                ("grpc.max_receive_message_length", max_body),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                # gRPC sets no bound to what a message becomes; `_message` does.
                ("grpc.per_message_decompression", 0),
                # Without it gRPC reads ahead by megabytes of each message that nobody has asked for yet.
                ("grpc.http2.bdp_probe", 0),
                # From gRPC 1.65 on; an older one takes no notice.
                ("grpc.max_allowed_incoming_connections", max_connections),
                ("grpc.server_handshake_timeout_ms", _HANDSHAKE),
                ("grpc.max_connection_idle_ms", _IDLE),
            ),
        )
        calls = {
            "ServerLive": self._asked("ServerLive", lambda request: "/v2/health/live", {200}),
            "ServerReady": self._asked("ServerReady", lambda request: "/v2/health/ready", {200, 503}),
            "ServerMetadata": self._asked("ServerMetadata", lambda request: "/v2", {200}),
            "ModelReady": self._asked("ModelReady", lambda request: f"{_path(request)}/ready", {200, 404, 503}),
            "ModelMetadata": self._asked("ModelMetadata", _path, {200}),
            "ModelInfer": self._call(message("ModelInferRequest"), self._infer),
            "RepositoryIndex": self._call(message("RepositoryIndexRequest"), self._index),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, calls),))
        address = f"[{host}]" if ":" in host else host
        try:
            self.port = self._server.add_insecure_port(f"{address}:{port}")
        except RuntimeError:
            raise OutsideError(f"{address}:{port} cannot be listened on; choose another --grpc-port") from None
        self.address = f"{address}:{self.port}"

    async def run(self, stopped: asyncio.Event, grace: float) -> None:
        """Serve until `stopped` is set, then answer what was taken in, for at most `grace` seconds."""
        await self._server.start()
        try:
            await stopped.wait()
        finally:
            await self._server.stop(grace)

    def _call(self, kind: Any, answer: _Answer) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A method that takes one message of this kind; what it refuses is told by status and sentence."""

        async def handle(_: object, context: _Context) -> bytes:
            try:
                return await self._answered(kind, answer, context)
            except Refusal as refusal:
                # Without its frames, which have the message and would keep it until the garbage is collected.
                refused = refusal.with_traceback(None)
                refused.__context__ = None
            trailers = dict(context.trailing_metadata() or ())
            if refused.retry_after is not None:
                trailers.setdefault("retry-after", str(refused.retry_after))
            code = _CODES.get(refused.status, grpc.StatusCode.INTERNAL)
            await context.abort(code, refused.message[:_LONGEST], tuple(trailers.items()))
            raise refused

        # The same on the wire as a method of one message, but here the message is only received when it is read.
        return grpc.stream_unary_rpc_method_handler(handle)

    async def _answered(self, kind: Any, answer: _Answer, context: _Context) -> bytes:
        """The answer to a call, whose message is counted until then. Raises Refusal."""
        began = asyncio.get_running_loop().time()
        held = 0
        try:
            data = await self._received(kind, context)
            held = self._hold(len(data), held)
            if data.startswith(_COMPRESSED):
                data = await self._gateway.inflating.inflate(data, self._max_body, began + self._timeout)
                held = self._hold(len(data), held)
            request = await self._parsed(kind, data)
            # It is counted for what was made of it.
            del data
            return await answer(request, context, began)
        finally:
            self._gateway.budget.give(held)

    async def _received(self, kind: Any, context: _Context) -> bytes:
        """The message of a call. Raises Refusal where it does not come in time, or not at all."""
        try:
            async with asyncio.timeout(self._timeout), self._arriving:
                data = await context.read()
        except TimeoutError:
            raise Refusal(408, f"the message did not arrive within {self._timeout:g} s; send it faster") from None
        if not isinstance(data, bytes):
            raise Refusal(400, f"there is no message; send one {kind.DESCRIPTOR.name}")
        return data

    def _hold(self, size: int, held: int) -> int:
        """Count a message of this size, which has been counted with `held` so far. Raises Refusal."""
        # A second time for the body that is made of it.
        if not self._gateway.budget.take(COPIES * size - held):
            raise no_room()
        return COPIES * size

    async def _parsed(self, kind: Any, data: bytes) -> Any:
        return await _beside(len(data), lambda stop: read(kind, data))

    def _asked(self, method: str, path: Callable[[Any], str], fine: set[int]) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A method whose answer is what a GET of the path says, where the status is one of these."""
        response = message(f"{method}Response")

        async def answer(request: Any, context: _Context, began: float) -> bytes:
            status, said = await self._ask("GET", path(request))
            if status not in fine:
                raise Refusal(status, said["error"])
            found: bytes = json_format.ParseDict(said, response(), ignore_unknown_fields=True).SerializeToString()
            return found

        return self._call(message(f"{method}Request"), answer)

    async def _index(self, request: Any, context: _Context, began: float) -> bytes:
        _, said = await self._ask("POST", "/v2/repository/index", msgspec.json.encode({"ready": request.ready}))
        response = message("RepositoryIndexResponse")()
        found: bytes = json_format.ParseDict({"models": said}, response).SerializeToString()
        return found

    async def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """What the gateway says at one of its own paths: status and JSON."""
        status, parts = 500, []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(part: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = part.get("status", status)
            parts.append(part.get("body", b""))

        scope = {"type": "http", "method": method, "path": path, "root_path": "", "query_string": b"", "headers": []}
        await self._gateway.control(scope, receive, send)
        return status, msgspec.json.decode(b"".join(parts))

    async def _infer(self, request: Any, context: _Context, began: float) -> bytes:
        path = f"{_path(request, 'model_name', 'model_version')}/infer"
        route = self._gateway.routes.find({"method": "POST", "path": path})
        if route is None:
            status, said = await self._ask("POST", path)
            raise Refusal(status, said["error"])
        body, length = await _beside(size_of(request), lambda stop: body_of(request, stop))
        headers: Headers = [
            (key.encode(), value.encode("latin-1", "replace"))
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str) and not key.startswith(_NOT_ITS_OWN)
        ]
        exchange = Exchange([*headers, (_HEADER_LENGTH.encode(), b"%d" % length)], route, self._gateway.budget)
        exchange.began = began
        # When the call is over, its answer has been written.
        context.add_done_callback(lambda _: exchange.close())
        settled: wire.Reply | BaseException
        try:
            settled = await exchange.submit(body, None).future
        except (Refusal, Unanswered) as reason:
            settled = reason.with_traceback(None)
        except asyncio.CancelledError:
            exchange.answer(Left())
            raise
        answer = exchange.answer(settled)
        assert answer is not None
        status, sent, body = answer
        named = {name.decode(): value.decode("latin-1") for name, value in sent}
        context.set_trailing_metadata(tuple((name, named[name]) for name in _ANSWERED if name in named))
        if status != 200:
            raise Refusal(status, msgspec.json.decode(body)["error"])
        raw = bool(request.raw_input_contents)
        found: bytes = await _beside(
            len(body), lambda stop: response_of(body, int(named[_HEADER_LENGTH]), stop, raw=raw).SerializeToString()
        )
        return found


def _path(request: Any, name: str = "name", version: str = "version") -> str:
    """The REST path of the model that the request names. Raises Refusal (404)."""
    name, version = getattr(request, name), getattr(request, version)
    if not _PLAIN.fullmatch(name) or not (version == "" or _PLAIN.fullmatch(version)):
        raise Refusal(404, f"no model {name[:60]!r} is served here; ask RepositoryIndex which are")
    return f"/v2/models/{name}" if version == "" else f"/v2/models/{name}/versions/{version}"


async def _beside(size: int, work: Callable[[Stop], _T]) -> _T:
    """Do the work here, or in a thread where it is large; there it stops with the call. Raises Refusal (408)."""
    if size < _LARGE:
        return work(lambda: False)
    try:
        return await offload(work, asyncio.get_running_loop().time() + _LONGEST_WORK)
    except TimeoutError:
        raise Refusal(408, "the message was not read in time; send fewer rows at a time", 1) from None
