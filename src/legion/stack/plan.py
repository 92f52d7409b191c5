"""What `legion up` will start, as a value: two commands with their environments, addresses, and what must not be shown.

Nothing here starts, connects or writes; what can be refused by looking is refused here.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from legion.documents.redaction import redacted
from legion.errors import MissingExtraError, UsageError
from legion.stack import security
from legion.stack.database import sqlite_path

# Two processes of MLflow's server keep two users apart; its own default of four takes a gigabyte more at rest.
_MLFLOW_WORKERS = "2"
# What decides where MLflow's server stands and what it keeps: `legion up` does, not what lies in the environment.
_OURS = frozenset(
    f"MLFLOW_{name}"
    for name in (
        *("TRACKING_URI", "REGISTRY_URI", "BACKEND_STORE_URI", "REGISTRY_STORE_URI", "READ_REPLICA_BACKEND_STORE_URI"),
        *("ARTIFACTS_DESTINATION", "DEFAULT_ARTIFACT_ROOT", "SERVE_ARTIFACTS", "ARTIFACTS_ONLY", "STATIC_PREFIX"),
        *("GUNICORN_OPTS", "RUN_ID", "EXPERIMENT_ID", "EXPERIMENT_NAME"),
    )
)
_POSTGRESQL = re.compile(r"^postgres(?:ql)?://")
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LEGION_ADMIN_TOKEN")


class Wish(msgspec.Struct, frozen=True):
    """What was asked for. Ports are real ones (not 0); `data` is the folder for what is kept on this machine.

    `state` is where the gateway keeps its deployments and its token, `memory` its option of that name.
    """

    host: str
    port: int
    gateway_port: int
    data: Path
    state: Path
    backend_store_uri: str | None = None
    artifacts_destination: str | None = None
    serve_artifacts: bool = True
    default_artifact_root: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    memory: str | None = None


class Child(msgspec.Struct, frozen=True):
    """One process to keep: `command` in `folder` under `environment`; it is up when `health` (an URL) answers 200."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    health: str
    folder: Path | None = None


class Plan(msgspec.Struct, frozen=True):
    """Everything that is to be started, and where it will be.

    `for_others` is MLflow's address for other machines, where that is another one; `database` and `artifacts` are fit
    to be shown.
    """

    mlflow: Child
    gateway: Child
    tracking_uri: str
    gateway_url: str
    for_others: str | None
    database_uri: str
    database: str
    artifacts: str
    direct: bool
    data: Path
    secrets: tuple[str, ...] = ()


def plan(wish: Wish, environ: Mapping[str, str]) -> Plan:
    """Raises UsageError for what cannot be meant, MissingExtraError where a library is not installed."""
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtraError("mlflow", "legion up")
    data = wish.data.absolute()
    uri = _database(wish.backend_store_uri, data)
    destination = _place(wish.artifacts_destination or str(data / "artifacts"))
    # Without a proxy what was named as the destination is where clients write themselves.
    root = _place(wish.default_artifact_root) if wish.default_artifact_root else None
    root = root or (None if wish.serve_artifacts else destination)
    for place in (destination, root):
        if place and place.startswith("s3:") and importlib.util.find_spec("boto3") is None:
            raise MissingExtraError("team", f"Artifacts at {place}")
    kept = {name: value for name, value in environ.items() if name not in _OURS}
    here = security.local_host(wish.host)
    tracking_uri, gateway_url = f"http://{here}:{wish.port}", f"http://{here}:{wish.gateway_port}"
    remote = [place for place in (destination, root) if place and "://" in place]
    direct_local = [root, f"file://{root}"] if root and "://" not in root else []
    stores = {
        # SQLAlchemy's defaults differ by its version; this driver is the one that the extra brings.
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_ARTIFACTS_DESTINATION": destination,
        "MLFLOW_SERVE_ARTIFACTS": "true" if wish.serve_artifacts else "false",
        **({"MLFLOW_DEFAULT_ARTIFACT_ROOT": root} if root else {}),
    }
    # Only where the environment says nothing. Jobs are for judges of language models: more processes of 250 MB each.
    defaults = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PGCONNECT_TIMEOUT": "10",
        "MLFLOW_UVICORN_OPTS": "--no-access-log",
        "PYTHONWARNINGS": "ignore",
    }
    strict = security.settings(
        wish.host, wish.port, further_hosts=wish.allowed_hosts, artifact_roots=[*remote, *direct_local]
    )
    mlflow = Child(
        "mlflow",
        (
            *(sys.executable, "-m", "mlflow", "server", "--host", wish.host, "--port", str(wish.port)),
            *("--workers", environ.get("MLFLOW_WORKERS", _MLFLOW_WORKERS)),
        ),
        {**defaults, **kept, **stores, **strict, "PYTHONUNBUFFERED": "1"},
        tracking_uri + "/health",
        data,
    )
    gateway = Child(
        "gateway",
        (
            *(sys.executable, "-P", "-m", "legion.cli.main", "serve", "--admin"),
            *("--host", wish.host, "--port", str(wish.gateway_port), "--state", str(wish.state)),
            *(() if wish.memory is None else ("--memory", wish.memory)),
        ),
        {**kept, "MLFLOW_TRACKING_URI": tracking_uri, "LEGION_STATE": str(wish.state), "PYTHONUNBUFFERED": "1"},
        gateway_url + "/health",
    )
    return Plan(
        mlflow=mlflow,
        gateway=gateway,
        tracking_uri=tracking_uri,
        gateway_url=gateway_url,
        for_others=f"http://{outward}:{wish.port}" if (outward := security.outward_host(wish.host)) else None,
        database_uri=uri,
        database=redacted(wish.backend_store_uri or uri),
        artifacts=redacted(root or destination),
        direct=root is not None,
        data=data,
        secrets=_secrets(uri, environ),
    )


def _database(uri: str | None, data: Path) -> str:
    """The address for MLflow: drivers named, paths absolute."""
    if uri is None:
        return f"sqlite:///{data / 'mlflow.db'}"
    if "://" not in uri or urlsplit(uri).scheme in ("file", "http", "https"):
        raise UsageError(
            f"--backend-store-uri {redacted(uri)} is no database; give postgresql://USER:PASSWORD@HOST/NAME or "
            "sqlite:////PATH/mlflow.db"
        )
    if _POSTGRESQL.match(uri):
        if importlib.util.find_spec("psycopg2") is None:
            raise MissingExtraError("team", "A PostgreSQL database")
        return _POSTGRESQL.sub("postgresql+psycopg2://", uri)
    path = sqlite_path(uri)
    if path is not None and not path.is_absolute():
        return uri.replace(f":///{path}", f":///{path.absolute()}", 1)
    return uri


def _place(text: str) -> str:
    """A place for artifacts: an URI as it is, a path absolute."""
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _secrets(uri: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The words that no log line may hold, the longest first."""
    userinfo = urlsplit(uri).netloc.rpartition("@")[0]
    password = userinfo.partition(":")[2]
    found = {password, unquote(password), *(environ.get(name, "") for name in _SECRET_VARIABLES)}
    # A password of three letters would tear words apart that have nothing to do with it.
    return tuple(sorted((word for word in found if len(word) > 3), key=len, reverse=True))
