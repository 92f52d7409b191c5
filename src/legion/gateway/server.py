"""The gateway as a process: bind, start the models, serve, and on a signal drain and end with 0."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvicorn
import uvloop

from legion import logs
from legion.errors import MissingExtraError, OutsideError, UsageError
from legion.gateway import descriptors
from legion.gateway.allocator import give_large_blocks_back
from legion.gateway.deployments.declaration import Declaration
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.fleet import Fleet
from legion.gateway.deployments.provisioner import Provisioner
from legion.gateway.deployments.provisioner_process import ProvisionerProcess
from legion.gateway.deployments.routes import Routes
from legion.gateway.deployments.saved_deployments import SavedDeployments
from legion.gateway.deployments.variant import Kept
from legion.gateway.http.app import Gateway
from legion.gateway.http.connections import Connections
from legion.gateway.http.fast_path import protocol_for
from legion.gateway.limits import Limits
from legion.gateway.machine_memory import machine_memory
from legion.gateway.management.admin import Admin
from legion.gateway.management.endpoints import Management
from legion.gateway.memory_budget import MemoryBudget
from legion.gateway.shutdown import Shutdown
from legion.gateway.supervision import supervise

if TYPE_CHECKING:
    from legion.gateway.open_inference.grpc_service import GrpcService

# Seconds in which what has been taken in is answered, once nothing more is accepted.
_GRACE = 25
# Of the memory that there is, so much (one part of four) is for requests and answers.
_SHARE = 4

OnReady = Callable[[list[Deployment], float], None]


class _Server(uvicorn.Server):
    """uvicorn, leaving the signals to us: it would end by the signal, and a drained server ends with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def serve_until(self, stopped: asyncio.Event, sock: socket.socket) -> None:
        """Serve until `stopped` is set, then answer what was taken in."""
        self._stopped = stopped
        await self.serve([sock])

    async def on_tick(self, counter: int) -> bool:
        self.should_exit = self._stopped.is_set()
        return await super().on_tick(counter)


def bind(host: str, port: int) -> socket.socket:
    """A listening address, taken before anything slow happens. Raises OutsideError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OutsideError(f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port") from None
    return sock


class Grpc(msgspec.Struct, frozen=True):
    """Where gRPC is listened for; a message has at most `max_body` bytes, and `timeout` seconds to arrive."""

    host: str
    port: int
    max_body: int
    timeout: float = Limits().timeout


class Setting(msgspec.Struct, frozen=True):
    """How a gateway is to be: `cache` for what is fetched; with `state` and `token` it keeps deployments and has an
    admin API; with `grpc` it speaks the Open Inference Protocol there as well. `say` takes a line for people.
    After a signal it says for `drain` seconds that it is not ready, while it still accepts requests. Requests and
    answers take at most `memory` bytes, by default a quarter of what this process may use.
    """

    cache: Path
    say: Callable[[str], None]
    state: Path | None = None
    token: str | None = None
    grpc: Grpc | None = None
    drain: float = 0.0
    memory: int | None = None


class Declared(msgspec.Struct, frozen=True):
    """A deployment to begin with; `kept` is by its variants' names, for those that need not be fetched."""

    declaration: Declaration
    kept: dict[str, Kept] = {}


def serve(declared: Sequence[Declared], sock: socket.socket, setting: Setting, *, on_ready: OnReady) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends this process at once, by the signal.

    Raises UsageError for two models of one name, and what kept a model from starting where there is no admin API
    to say it.
    """
    names = [one.declaration.name for one in declared]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two models are named {twice!r}; give one another name as NAME=MODEL")
    give_large_blocks_back()
    uvloop.run(_run(declared, sock, setting, on_ready))


async def _run(declared: Sequence[Declared], sock: socket.socket, setting: Setting, on_ready: OnReady) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    saved = None if setting.state is None else SavedDeployments(setting.state / "deployments")
    shares = descriptors.share(descriptors.raise_limit(), grpc=setting.grpc is not None)
    connections = Connections(most=shares.http)

    def drain() -> None:
        connections.draining = True
        if setting.drain > 0:
            setting.say(
                f"draining: requests are accepted for another {setting.drain:g} s; a second signal ends at once"
            )

    shutdown = Shutdown(setting.drain, drain)
    routes = Routes()
    budget = MemoryBudget(machine_memory() // _SHARE if setting.memory is None else setting.memory)
    gateway = Gateway(routes, budget)
    fleet = Fleet(routes, Provisioner(partial(ProvisionerProcess.start, setting.cache)), setting.say, saved)
    admin = None if setting.token is None else Admin(fleet, setting.token, sock.getsockname()[0]).app()
    gateway.control = Management(lambda: list(fleet.deployments.values()), connections, budget, admin).app()
    server = _server(gateway, connections, shares.backlog)
    face = None if setting.grpc is None else _grpc_service(gateway, setting.grpc, shares.grpc)
    shutdown.listen()
    fleet.restore()
    for one in declared:
        fleet.put(one.declaration, one.kept)
    faces = [server.serve_until(shutdown.stopped, sock)]
    if face is not None:
        setting.say(f"the Open Inference Protocol over gRPC at {face.address}")
        faces.append(face.run(shutdown.stopped, _GRACE))
    listening = asyncio.gather(*faces)
    watching = supervise("connections", connections.watch)
    starting = loop.create_task(_started(fleet, strict=admin is None))
    try:
        stopped = loop.create_task(shutdown.stopped.wait())
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            gc.collect()
            gc.freeze()
            on_ready(list(fleet.deployments.values()), loop.time() - began)
        await listening
    finally:
        shutdown.stopped.set()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await asyncio.gather(listening, return_exceptions=True)
        watching.cancel()
        await fleet.stop()


def load_grpc() -> type[GrpcService]:
    """What serves gRPC. Raises MissingExtraError where the extra is not installed."""
    # The gateway starts programs and never goes on in a fork of itself; else gRPC remarks on every start.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    try:
        from legion.gateway.open_inference.grpc_service import GrpcService  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError("grpc", "--grpc-port") from None
    return GrpcService


def _grpc_service(gateway: Gateway, grpc: Grpc, max_connections: int) -> GrpcService:
    service = load_grpc()
    return service(
        gateway, grpc.host, grpc.port, max_body=grpc.max_body, max_connections=max_connections, timeout=grpc.timeout
    )


def _server(gateway: Gateway, connections: Connections, backlog: int) -> _Server:
    return _Server(
        uvicorn.Config(
            gateway,
            loop="none",
            http=protocol_for(gateway, connections),
            backlog=backlog,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
    )


async def _started(fleet: Fleet, *, strict: bool) -> None:
    """Until every variant serves or was refused; with `strict` a refusal is raised."""
    firsts = [variant.first for one in fleet.deployments.values() for variant in one.variants]
    if strict:
        await asyncio.gather(*firsts)
    elif firsts:
        await asyncio.wait(firsts)


def configure_logging() -> None:
    """Warnings and errors to standard error, one line each."""
    logs.configure()
