"""A gateway with one model whose worker answers as a test says, and the doors that a prediction may come in by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import msgspec
import uvloop
from stub_server import StubServer

from legion import wire
from legion.gateway.deployments.declaration import Declaration, VariantDeclaration, Workers
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.observers import Answered
from legion.gateway.deployments.routes import Routes
from legion.gateway.deployments.runtime import Runtime
from legion.gateway.deployments.turns import Turns
from legion.gateway.deployments.variant import Settings
from legion.gateway.http.app import Gateway
from legion.gateway.http.connections import Connections
from legion.gateway.http.fast_path import protocol_for
from legion.gateway.limits import MIB, Limits
from legion.gateway.management.admin import Admin
from legion.gateway.management.endpoints import Management
from legion.gateway.memory_budget import MemoryBudget
from legion.gateway.open_inference.grpc_messages import SERVICE, message
from legion.gateway.open_inference.grpc_service import GrpcService
from legion.provisioning_messages import Delivery
from stub_worker import StubWorker

_HTTP_STATUSES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: {408, 504},
    grpc.StatusCode.INVALID_ARGUMENT: {400, 415},
    grpc.StatusCode.NOT_FOUND: {404},
    grpc.StatusCode.RESOURCE_EXHAUSTED: {413, 429},
    grpc.StatusCode.UNAVAILABLE: {503},
}


class Outcome(msgspec.Struct):
    """What a caller got: the HTTP statuses that it may stand for, and when to try again."""

    statuses: set[int]
    retry_after: str | None = None


class StubGateway:
    """`worker` answers, `budget` is the gateway's, `seen` has what an observer was told."""

    def __init__(self, limits: Limits, memory: int) -> None:
        self.limits = limits
        self.worker = StubWorker()
        self.budget = MemoryBudget(memory)
        self.routes = Routes()
        self.gateway = Gateway(self.routes, self.budget)
        self.connections = Connections()
        self.seen: list[Answered] = []

    @contextlib.asynccontextmanager
    async def running(self, *, answers: bool) -> AsyncIterator[StubGateway]:
        """Listen at both ports; with `answers` the model is ready, else it has no version."""
        runtime = Runtime(self._start_worker, lambda: datetime.now(UTC), lambda: 0.5)
        settings = Settings("wine", Workers(), self.limits, Turns(), runtime, _quiet, _quiet, _quiet)
        declaration = Declaration("wine", (VariantDeclaration("champion", "wine.zip"),), limits=self.limits)
        deployment = self.deployment = Deployment(declaration, settings, {})
        deployment.observers = (*deployment.observers, self.seen.append)
        fleet: Any = SimpleNamespace(deployments={"wine": deployment})
        admin = Admin(fleet, "token", "127.0.0.1").app()
        self.gateway.control = Management(lambda: [deployment], self.connections, self.budget, admin).app()
        if answers:
            deployment.variants[0].deliver(
                Delivery(1, "1", wire.Plan("wine", "1", "/nowhere", "gppi"), "/nowhere/python")
            )
            await deployment.variants[0].first
        self.routes.mount(deployment)
        self.grpc = GrpcService(
            self.gateway,
            "127.0.0.1",
            0,
            max_body=4 * self.limits.max_body,
            max_connections=100,
            timeout=self.limits.timeout,
        )
        stopped = asyncio.Event()
        serving = asyncio.create_task(self.grpc.run(stopped, 0))
        self.http = StubServer(self.gateway, self.connections, protocol_for(self.gateway, self.connections))
        try:
            async with self.http.listening():
                yield self
        finally:
            stopped.set()
            await serving
            await deployment.stop()

    async def _start_worker(self, plan: wire.Plan, python: Path, seconds: float) -> StubWorker:
        return self.worker

    async def posted(self, calls: int = 1) -> None:
        """Until the worker has been given so many calls."""
        while sum(map(len, self.worker.posted)) < calls:
            await asyncio.sleep(0)

    def reply(self, size: int = 0, status: int = 200) -> None:
        """Let the worker answer its next call, in the Open Inference Protocol, with a tensor of so many bytes."""
        described = {"name": "y", "datatype": "UINT8", "shape": [size], "parameters": {"binary_data_size": size}}
        head = msgspec.json.encode({"model_name": "wine", "model_version": "1", "outputs": [described]})
        kind = f"application/octet-stream;inference-header-content-length={len(head)}"
        self.worker.reply(wire.Reply(status, head + bytes(size), kind, rows=1))

    async def at_rest(self) -> None:
        """Until nothing is held any more."""
        while self.budget.held:
            await asyncio.sleep(0)


def _quiet(*_: object) -> None:
    """Nobody has to hear of it."""


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run it to its end in the loop that the gateway has; it has 30 s."""
    uvloop.run(asyncio.wait_for(scenario, 30))


@contextlib.asynccontextmanager
async def serving(*, memory: int = 64 * MIB, answers: bool = True, **limits: Any) -> AsyncIterator[StubGateway]:
    """A stub gateway that is listening."""
    stub = StubGateway(Limits(**({"timeout": 20.0} | limits)), memory)
    async with stub.running(answers=answers):
        yield stub


PATH = "/v2/models/wine/infer"


async def whole(
    stub: StubGateway, body: bytes, encoding: str | None = None, *, rest: Awaitable[Any] | None = None
) -> Outcome:
    """A request that comes in one piece over HTTP: the fast path, if it is not compressed."""
    head = [f"POST {PATH} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    head += [] if encoding is None else [f"Content-Encoding: {encoding}"]
    return await _http(stub, ["\r\n".join([*head, "", ""]).encode() + body], rest)


async def chunked(
    stub: StubGateway, body: bytes, encoding: str | None = None, *, rest: Awaitable[Any] | None = None
) -> Outcome:
    """A request in several pieces over HTTP: the ASGI application. Its last piece comes after `rest`."""
    head = [f"POST {PATH} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
    head += [] if encoding is None else [f"Content-Encoding: {encoding}"]
    chunk = b"%x\r\n" % len(body) + body + b"\r\n" if body else b""
    return await _http(stub, ["\r\n".join([*head, "", ""]).encode(), chunk, b"0\r\n\r\n"], rest)


async def _http(stub: StubGateway, pieces: list[bytes], rest: Awaitable[Any] | None) -> Outcome:
    caller = await stub.http.connect()
    answering = asyncio.ensure_future(caller.answer())
    for place, piece in enumerate(pieces):
        if rest is not None and place == len(pieces) - 1:
            # Whoever is refused before sends no more.
            await asyncio.wait((answering, asyncio.ensure_future(rest)), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                break
        least = stub.http.received + len(piece)
        caller.send(piece)
        while stub.http.received < least and not answering.done():
            await asyncio.sleep(0)
    answer = await answering
    await caller.leave()
    return Outcome({answer.status}, answer.headers.get("retry-after"))


async def rpc(
    stub: StubGateway, body: bytes, encoding: str | None = None, *, rest: Awaitable[Any] | None = None
) -> Outcome:
    """An inference over gRPC, of a tensor with these bytes. The message comes after `rest`."""
    request = message("ModelInferRequest")(model_name="wine", raw_input_contents=[body])
    request.inputs.add(name="x", datatype="UINT8", shape=[len(body)])
    metadata = () if encoding is None else (("content-encoding", encoding),)

    async def messages() -> AsyncIterator[bytes]:
        if rest is not None:
            await rest
        yield request.SerializeToString()

    async with grpc.aio.insecure_channel(stub.grpc.address) as channel:
        try:
            await channel.stream_unary(f"/{SERVICE}/ModelInfer")(messages(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            trailers = dict(error.trailing_metadata() or ())
            return Outcome(_HTTP_STATUSES[error.code()], trailers.get("retry-after"))
    return Outcome({200})


Door = Callable[..., Awaitable[Outcome]]
DOORS: dict[str, Door] = {"fast path": whole, "ASGI": chunked, "gRPC": rpc}
