"""What `legion up` and `legion.up` are given. Light enough to be imported for the command line's help."""

from __future__ import annotations

from pathlib import Path

import msgspec


class StackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """MLflow's server listens on `host` and `port`, the gateway on `gateway_port`; port 0 is any free one.

    `data` is the folder of what is kept on this machine, by default under the user's state folder. The database is
    SQLite and the artifacts are a folder there, unless their addresses are given. `memory` is what the gateway's
    requests and answers may take, such as 512MiB; a quarter of what there is by default.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    gateway_port: int = 5001
    backend_store_uri: str | None = None
    artifacts_destination: str | None = None
    serve_artifacts: bool = True
    default_artifact_root: str | None = None
    data: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    memory: str | None = None


DEFAULTS = StackSettings()
