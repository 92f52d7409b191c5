"""The gateway as a process: bind, start the models, serve, and on SIGTERM drain and end with 0."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn
import uvloop

from legion import wire
from legion.errors import OutsideError, UsageError
from legion.gateway.app import Gateway
from legion.gateway.control import Control
from legion.gateway.deployment import Deployment, Served
from legion.gateway.direct import protocol_for

# Starting several models at once must not starve each of the processor.
_STARTS_AT_ONCE = 2
_DRAIN = 25

_PATHS = (("/invocations", wire.MLFLOW), ("/api/model/invoke", wire.LEGION))

OnReady = Callable[[list[Deployment], float], None]


class _Server(uvicorn.Server):
    """uvicorn, leaving the signals to us: it would end by the signal, and a drained server ends with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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


def serve(served: Sequence[Served], sock: socket.socket, *, on_ready: OnReady) -> None:
    """Serve until SIGTERM or SIGINT. Raises UsageError for two models of one name, WorkerError if one cannot start."""
    names = [one.name for one in served]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two models are named {twice!r}; give one another name as NAME=MODEL")
    uvloop.run(_run(served, sock, on_ready))


async def _run(served: Sequence[Served], sock: socket.socket, on_ready: OnReady) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    deployments = [Deployment(one) for one in served]
    gateway = Gateway(Control(lambda: deployments).app())
    for deployment in deployments:
        for path, protocol in _PATHS:
            gateway.mount(f"/models/{deployment.name}{path}", deployment, protocol)
            if len(deployments) == 1:
                gateway.mount(path, deployment, protocol)
    server = _Server(
        uvicorn.Config(
            gateway,
            loop="none",
            http=protocol_for(gateway),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_DRAIN,
        )
    )
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        server.should_exit = True

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop)
    listening = loop.create_task(server.serve([sock]))
    starting = loop.create_task(_start(deployments))
    try:
        await asyncio.wait((starting, loop.create_task(stopped.wait())), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            gc.collect()
            gc.freeze()
            on_ready(deployments, loop.time() - began)
        await listening
    finally:
        server.should_exit = True
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await asyncio.gather(listening, return_exceptions=True)
        await asyncio.gather(*(deployment.pool.stop() for deployment in deployments))


async def _start(deployments: Sequence[Deployment]) -> None:
    turn = asyncio.Semaphore(_STARTS_AT_ONCE)

    async def start(deployment: Deployment) -> None:
        async with turn:
            await deployment.pool.start()

    for fault in await asyncio.gather(*map(start, deployments), return_exceptions=True):
        if fault is not None:
            raise fault


def configure_logging() -> None:
    """Warnings and errors to standard error, one line each."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
