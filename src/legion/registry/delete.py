"""Deleting versions and models, never one that somebody may be told to serve."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from legion.errors import RefusedError
from legion.registry import tags
from legion.registry.client import answering, connect
from legion.registry.contention import patiently
from legion.registry.store import RegisteredVersion, check_names
from legion.registry.versions import checked_number, detail


class Deleted(msgspec.Struct, frozen=True):
    """What is gone: these versions, and the model itself where `whole` is set."""

    name: str
    versions: tuple[str, ...]
    whole: bool = False


def delete(name: str, version: str | None = None, *, force: bool = False, tracking_uri: str | None = None) -> Deleted:
    """Delete one version, or the model with all its versions where none is named.

    The logged model that `push` made for a version goes with it; one that a run logged stays with its run. MLflow
    keeps the files until `mlflow gc`. Raises RefusedError, unless `force` is set, where an alias points to a version
    or it is in Production; RegistryError where it is not there.
    """
    check_names(name)
    number = None if version is None else checked_number(version)
    client = connect(tracking_uri)
    found = detail(name, tracking_uri=tracking_uri)
    chosen = [one for one in found.versions if number in (None, one.version)]
    if number is not None and not chosen:
        raise RefusedError(f"{name} has no version {number}; legion models show {name} lists what it has")
    if not force and (held := [one for one in chosen if _in_use(one)]):
        raise RefusedError(f"{_held(held[0])}; move it to another version first, or delete with --force")
    with answering(f"{name} could not be deleted"):
        if number is None:
            patiently(lambda: client.delete_registered_model(name))
        else:
            patiently(lambda: client.delete_model_version(name, number))
        for one in chosen:
            _delete_logged(client, one)
    return Deleted(name, tuple(one.version for one in chosen), whole=number is None)


def _in_use(version: RegisteredVersion) -> bool:
    return bool(version.aliases) or version.stage == "Production"


def _held(version: RegisteredVersion) -> str:
    label = f"{version.name} version {version.version}"
    if version.aliases:
        return f"the alias {version.aliases[0]} points to {label}"
    return f"{label} is in Production"


def _delete_logged(client: Any, version: RegisteredVersion) -> None:
    """Delete the logged model behind a version, where Legion made it for this version alone."""
    if version.model_id is None or version.digest is None:
        return
    # The version itself is gone already; what is left behind of it can be deleted by hand.
    with contextlib.suppress(Exception):
        logged = client.get_logged_model(version.model_id)
        sources = (logged.artifact_location, f"models:/{version.model_id}")
        shared = any(client.search_model_versions(f"source_path='{source}'") for source in sources)
        if tags.DIGEST in logged.tags and not logged.source_run_id and not shared:
            client.delete_logged_model(version.model_id)
