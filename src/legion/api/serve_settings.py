"""How a gateway serves the models that `legion serve` and `legion.serve` are given.

A field here is an option of the command line under the same name, and a parameter of `legion.serve`; a test holds the
three together. Light enough to be imported for the command line's help.
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything besides the models. Times are in seconds, `max_body` is in MiB; port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 5000
    # Also serve the Open Inference Protocol over gRPC here.
    grpc_port: int | None = None
    # Processes per model, and where their environment comes from: auto, local, uv, conda or docker.
    workers: int = 1
    env: str = "auto"
    # Swap to the new version when an alias or a stage moves; the previous one stays warm for a rollback.
    follow: bool = False
    keep_warm: float = 300.0
    # Of each model: the largest request, how many may be queued, and how long one may take.
    max_body: int = 64
    queue: int = 1024
    timeout: float = 60.0
    # How long a version may take to load and to prove itself.
    start_timeout: float = 300.0
    # How long to keep accepting requests after SIGTERM, while the health checks say 503.
    drain: float = 0.0
    # For the requests and answers of all models that are held at once, such as 512MiB; a quarter of what there is.
    memory: str | None = None
    # Accept deployments over HTTP, and keep them in the folder `state`.
    admin: bool = False
    state: Path | None = None


DEFAULTS = ServeSettings()


def as_options(settings: ServeSettings) -> list[str]:
    """The command line's options that give these settings."""
    options = []
    for name, value in msgspec.structs.asdict(settings).items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            options.append(option)
        elif value is not None and value is not False:
            options.append(f"{option}={value}")
    return options
