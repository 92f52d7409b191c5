"""`legion.serve`: a `legion serve` process that belongs to the caller."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike

import msgspec

from legion.api.background import BackgroundCommand
from legion.api.deployments import connect
from legion.api.progress import LOGGED, Progress
from legion.api.serve_settings import DEFAULTS, ServeSettings, as_options
from legion.api.settings import Model, path_of
from legion.client import Client


class Server(BackgroundCommand):
    """A running `legion serve`. It ends with `stop`, with the `with` block, or with this process.

    `url` is its address, `client` a client of it, `log` the last lines that it and its models wrote.
    """

    def __init__(
        self, models: Sequence[str], settings: ServeSettings, ready_timeout: float, progress: Progress
    ) -> None:
        """Start it and wait until its models are ready; use `legion.serve`."""
        arguments = ["serve", "--json", *as_options(settings), "--", *models]
        super().__init__(arguments, ready_timeout, progress, drain=settings.drain)
        self.url: str = msgspec.json.decode(self._report)["url"]
        self.client: Client = connect(self.url)

    def __repr__(self) -> str:
        return f"<Server {self.url}, {'running' if self.running else 'stopped'}>"

    def stop(self) -> None:
        """Answer the requests it has accepted, then end the server and its workers. A second call does nothing."""
        if hasattr(self, "client"):
            self.client.close()
        super().stop()


def serve(
    model: Model | Mapping[str, Model] | Sequence[Model] | None = None,
    *,
    host: str = DEFAULTS.host,
    port: int = 0,
    grpc_port: int | None = DEFAULTS.grpc_port,
    workers: int = DEFAULTS.workers,
    env: str = DEFAULTS.env,
    follow: bool = DEFAULTS.follow,
    keep_warm: float = DEFAULTS.keep_warm,
    max_body: int = DEFAULTS.max_body,
    queue: int = DEFAULTS.queue,
    timeout: float = DEFAULTS.timeout,
    start_timeout: float = DEFAULTS.start_timeout,
    drain: float = DEFAULTS.drain,
    memory: str | None = DEFAULTS.memory,
    admin: bool = DEFAULTS.admin,
    state: str | PathLike[str] | None = None,
    ready_timeout: float = 600.0,
    progress: Progress = LOGGED,
) -> Server:
    """Serve a model, or several by their names, over HTTP from a separate process; return when they are ready.

    `model`: an artifact, a model folder, `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/ID/PATH`, a
    DEPLOYMENT.yaml; a list of these, or a mapping of names to them; None only with `admin`.

    `host`, `port`: the address to listen on; port 0 is any free one. `grpc_port`: also serve the Open Inference
    Protocol over gRPC there (extra: grpc). `workers`: worker processes per model. `env`: the environment of the
    models: auto, local, uv, conda or docker. `follow`: swap to the new version when the alias or stage moves;
    `keep_warm`: seconds that the previous version stays ready for a rollback. `max_body`: largest request body in
    MiB. `queue`: maximum queued requests per model. `timeout`: request timeout in seconds. `start_timeout`: seconds
    that a version may take to load and to be checked. `drain`: seconds to keep accepting requests when it is stopped,
    while its health checks say 503. `memory`: what the requests and answers of all models may take, such as `512MiB`;
    a quarter of what there is by default. `admin`: accept deployments over HTTP, kept in the folder `state`.
    `ready_timeout`: seconds to wait until the server is ready, including the creation of environments. `progress`
    receives the lines of the server's log, in another thread.

        with legion.serve("wine.zip") as server:
            server.client.predict(rows)

    Raises what stopped it, with its message: UsageError, RefusedError, or OutsideError.
    """
    settings = ServeSettings(
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers,
        env=env,
        follow=follow,
        keep_warm=keep_warm,
        max_body=max_body,
        queue=queue,
        timeout=timeout,
        start_timeout=start_timeout,
        drain=drain,
        memory=memory,
        admin=admin,
        state=path_of(state),
    )
    return Server(_models(model), settings, ready_timeout, progress)


def _models(model: Model | Mapping[str, Model] | Sequence[Model] | None) -> list[str]:
    """The MODEL arguments of the command line."""
    if model is None:
        return []
    if isinstance(model, (str, PathLike)):
        return [os.fspath(model)]
    if isinstance(model, Mapping):
        return [f"{name}={os.fspath(one)}" for name, one in model.items()]
    return [os.fspath(one) for one in model]
