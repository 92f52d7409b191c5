"""MLflow's client, with its noise kept down and its errors mapped once to Legion's."""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from legion.documents.redaction import redacted
from legion.errors import LegionError, MissingExtraError, RegistryError
from legion.registry.contention import alone
from legion.registry.mlflow_import import imported

# Table creation line by line, a missing git binary, the command of a run: nothing the user asked about.
# How urllib3 names who it gave up on, and why.
_POOL = re.compile(r"HTTPS?ConnectionPool\(host='([A-Za-z0-9.:_-]{1,253})', port=(\d+)\)")
_FAILING = re.compile(r"too many (\d{3}) error responses")
_NOISY = ("mlflow", "alembic", "git", "urllib3", "py.warnings")
# Databases that this process has opened; MLflow makes a new one's tables when it is first opened.
_opened: set[str] = set()
_opening = threading.Lock()
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def require_mlflow(purpose: str) -> None:
    """Raise MissingExtraError where MLflow is not installed; takes no time where it is."""
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtraError("mlflow", purpose)


def connect(tracking_uri: str | None = None) -> Any:
    """An `MlflowClient` for this server; None is MLflow's own choice (MLFLOW_TRACKING_URI, else a local file).

    Raises MissingExtraError, and RegistryError where the server cannot be reached.
    """
    require_mlflow("The model registry")
    with answering("the registry cannot be opened"):
        mlflow = imported()
        hush()
        if tracking_uri is not None:
            # Not the client's argument alone: MLflow's stores look the logged model up at the process-wide one.
            mlflow.set_tracking_uri(tracking_uri)
        return _opened_client()


def address() -> tuple[str, str]:
    """Where MLflow's tracking server and its registry are: two URIs, which may hold credentials."""
    mlflow = imported()
    return str(mlflow.get_tracking_uri()), str(mlflow.get_registry_uri())


def _opened_client() -> Any:
    """A client whose databases have their tables; a process makes them while the others wait, or two would fail."""
    mlflow = imported()
    # MLflow fills its tables of stores on first use, and a second thread would find them half full.
    with _opening, ExitStack() as locks:
        new = sorted({uri for uri in address() if _is_database(uri)} - _opened)
        for uri in new:
            locks.enter_context(alone("database", uri))
        client = mlflow.MlflowClient()
        # No public call makes the registry's half without asking it something.
        getattr(client, "_get_registry_client", lambda: None)()
        if new:
            client.search_registered_models(max_results=1)
            client.search_experiments(max_results=1)
        _opened.update(new)
    return client


def _is_database(uri: str) -> bool:
    return uri.partition("://")[0].partition("+")[0] in _DATABASES


def hush() -> None:
    """Let MLflow and what it uses report errors only."""
    # SQLAlchemy puts its own warning filters in front of any other; a logger's level it leaves alone.
    logging.captureWarnings(True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    # An interrupted query is logged with its traceback.
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)


@contextmanager
def answering(failure: str) -> Iterator[None]:
    """Map whatever MLflow and its stores raise inside to a RegistryError that begins with `failure`."""
    try:
        yield
    except LegionError:
        raise
    # Stores are plug-ins (SQL drivers, HTTP, cloud SDKs); each raises its own kinds.
    except Exception as error:
        raise RegistryError(
            _outage(error) or f"{failure} ({_reason(error)}); check MLFLOW_TRACKING_URI and the name"
        ) from error


def _outage(error: Exception) -> str | None:
    """The sentence for an MLflow server that cannot be reached, or that cannot reach its own database or store."""
    text = str(error)
    found = _POOL.search(text)
    if found is None or "Max retries exceeded" not in text:
        return None
    if failing := _FAILING.search(text):
        return f"MLflow's server at {found[1]}:{found[2]} answers only errors ({failing[1]}); look at its log"
    return f"MLflow's server at {found[1]}:{found[2]} does not answer; start it, or correct MLFLOW_TRACKING_URI"


def _reason(error: Exception) -> str:
    """The error's first line without credentials, cut where it is long."""
    lines = str(error).strip().splitlines()
    text = redacted(lines[0].strip().rstrip(".")) if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
