"""MLflow's security settings at their strict values: whom its server answers, and what may be registered.

MLflow reads them from its environment (mlflow/server/security.py, handlers.py of 3.17). Its own default answers any
private address under any name, and lets a version's source be anything remote.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

from legion.errors import UsageError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 (compared with, not listened on)
# A name or an address, with or without a port: no pattern, so that "*" does not open the door again.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(:\d{1,5})?")


def shown_host(host: str) -> str:
    """A host as it stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def local_host(host: str) -> str:
    """Where this machine itself reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, shown_host(host))  # noqa: S104


def outward_host(host: str) -> str | None:
    """What others call this machine, where a server listens on every address of it; else None."""
    return _own_names()[0] if host in _EVERYWHERE else None


def allowed_hosts(host: str, port: int, further: Sequence[str] = ()) -> tuple[str, ...]:
    """The Host headers that a server listening there answers to; `further` are names a proxy or a colleague uses.

    Raises UsageError for a further one that is no name.
    """
    names = list(LOOPBACK) if host in (*_EVERYWHERE, "localhost", "127.0.0.1", "::1") else [shown_host(host)]
    if host in _EVERYWHERE:
        names += _own_names()
    for name in further:
        if not _HOST.fullmatch(name):
            raise UsageError(f"--allowed-host {name!r} is no host name; give a name or an address, without a pattern")
    with_port = [f"{name}:{port}" for name in names]
    with_port += names if port == 80 else []
    for name in further:
        # Behind a proxy the header has the proxy's port, or none.
        with_port += [name] if re.search(r":\d+$", name) else [name, f"{name}:{port}"]
    return tuple(dict.fromkeys(with_port))


def _own_names() -> list[str]:
    """What others call this machine: its host name and the address it would send from."""
    names = [socket.gethostname().lower()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Nothing is sent: connecting a datagram socket only looks the route up.
            sock.connect(("192.0.2.1", 9))
            names.append(sock.getsockname()[0])
        except OSError:
            pass
    return names


def source_pattern(roots: Sequence[str]) -> str:
    """What the source of a model version must match: MLflow's own references, or a place under one of `roots`.

    `roots` are the stores of this stack outside this machine's file system, such as `s3://bucket/models`. A local path
    is not among the remote sources, and MLflow itself holds it inside the run or the logged model it names.
    """
    own = ["mlflow-artifacts:/", "runs:/", "models:/", f"(?:{'|'.join(map(re.escape, _PROMPTS))})$"]
    own += [re.escape(root.rstrip("/")) + "/" for root in roots]
    return f"^(?:{'|'.join(own)})"


# What MLflow writes as the source of a prompt, which is kept in the same registry.
_PROMPTS = ("dummy-source", "prompt-template")


def settings(
    host: str, port: int, *, further_hosts: Sequence[str] = (), artifact_roots: Sequence[str] = ()
) -> dict[str, str]:
    """The environment variables of MLflow's server."""
    hosts = allowed_hosts(host, port, further_hosts)
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}" for name in hosts),
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "DENY",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": source_pattern(artifact_roots),
    }
