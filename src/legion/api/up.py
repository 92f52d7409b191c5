"""`legion.up`: a `legion up` process that belongs to the caller."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import msgspec

from legion.api.background import BackgroundCommand
from legion.api.progress import LOGGED, Progress
from legion.api.settings import path_of
from legion.api.stack import Running
from legion.api.stack_settings import DEFAULTS, StackSettings
from legion.client import Client
from legion.settings import admin_token


class Stack(BackgroundCommand):
    """A running `legion up`. It ends with `stop`, with the `with` block, or with this process.

    `tracking_uri` is the address of MLflow's server, `url` that of the gateway, `client` a client of the gateway,
    `running_as` all that is known of both, and `log` the last lines of theirs.
    """

    def __init__(self, wished: StackSettings, ready_timeout: float, progress: Progress) -> None:
        """Start it and wait until both answer; use `legion.up`."""
        super().__init__(_arguments(wished), ready_timeout, progress, _environment(wished))
        self.running_as = msgspec.json.decode(self._report, type=Running)
        self.tracking_uri = self.running_as.tracking_uri
        self.url = self.running_as.gateway
        self.client = _client(self.running_as)

    def __repr__(self) -> str:
        return f"<Stack {self.tracking_uri} {self.url}, {'running' if self.running else 'stopped'}>"

    def stop(self) -> None:
        """Answer the requests the gateway has accepted, then end both. A second call does nothing."""
        if hasattr(self, "client"):
            self.client.close()
        super().stop()


def up(
    *,
    host: str = DEFAULTS.host,
    port: int = 0,
    gateway_port: int = 0,
    backend_store_uri: str | None = None,
    artifacts_destination: str | None = None,
    serve_artifacts: bool = DEFAULTS.serve_artifacts,
    default_artifact_root: str | None = None,
    data: str | PathLike[str] | None = None,
    allowed_hosts: Sequence[str] = (),
    memory: str | None = DEFAULTS.memory,
    ready_timeout: float = 600.0,
    progress: Progress = LOGGED,
) -> Stack:
    """Start MLflow's server and a gateway in separate processes; return when both answer.

    `host`, `port`, `gateway_port`: the address that both listen on; port 0 is any free one. `backend_store_uri`:
    MLflow's database, `postgresql://…` for a team; SQLite under `data` by default. `artifacts_destination`: where
    artifacts are stored, `s3://…` for a team; a folder under `data` by default. `serve_artifacts`: MLflow passes
    artifacts on; if not, clients read and write them directly, those of new experiments under
    `default_artifact_root`. `data`: folder of what is kept on this machine. `allowed_hosts`: further host names that
    MLflow answers to, such as a proxy's. `memory`: what the gateway's requests and answers may take, such as `512MiB`;
    a quarter of what there is by default. `ready_timeout`: seconds to wait until both answer. `progress` receives the
    lines of their logs, in another thread.

    Raises what stopped it, with its message: UsageError, RefusedError, or OutsideError.
    """
    wished = StackSettings(
        host=host,
        port=port,
        gateway_port=gateway_port,
        backend_store_uri=backend_store_uri,
        artifacts_destination=artifacts_destination,
        serve_artifacts=serve_artifacts,
        default_artifact_root=default_artifact_root,
        data=path_of(data),
        allowed_hosts=tuple(allowed_hosts),
        memory=memory,
    )
    return Stack(wished, ready_timeout, progress)


def _arguments(wished: StackSettings) -> list[str]:
    options = [f"--host={wished.host}", f"--port={wished.port}", f"--gateway-port={wished.gateway_port}"]
    options += ["--no-serve-artifacts"] * (not wished.serve_artifacts)
    if wished.default_artifact_root is not None:
        options.append(f"--default-artifact-root={wished.default_artifact_root}")
    if wished.data is not None:
        options.append(f"--data={wished.data}")
    if wished.memory is not None:
        options.append(f"--memory={wished.memory}")
    return ["up", "--json", *options, *(f"--allowed-host={host}" for host in wished.allowed_hosts)]


def _environment(wished: StackSettings) -> dict[str, str]:
    """This process's environment with the addresses, which may hold passwords and so are kept off the command line."""
    given = {
        "MLFLOW_BACKEND_STORE_URI": wished.backend_store_uri,
        "MLFLOW_ARTIFACTS_DESTINATION": wished.artifacts_destination,
    }
    return {**os.environ, **{name: value for name, value in given.items() if value is not None}}


def _client(running: Running) -> Client:
    # The token is where the stack keeps its state, which is not the user's own folder where `data` was given.
    environ = {**os.environ, "LEGION_STATE": str(Path(running.admin_token_file).parent)}
    return Client(running.gateway, admin_token(environ, running.gateway))
