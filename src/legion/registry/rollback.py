"""The way back: an alias returns to the version it pointed to before."""

from __future__ import annotations

from typing import Any

from legion.errors import RefusedError
from legion.registry import aliases, tags
from legion.registry.client import answering, connect
from legion.registry.promote import Moved
from legion.registry.store import check_names, registered
from legion.registry.versions import checked_number


def rollback(name: str, *, alias: str = "champion", to: str | None = None, tracking_uri: str | None = None) -> Moved:
    """Point `alias` where it pointed before Legion last moved it, or at the version `to`.

    The two change places, so that rolling back twice returns. It asks for no check, since the way back must be short;
    only a version whose check is known to have failed is refused. Raises RefusedError, which says what to do where no
    version before is recorded or it is gone; RegistryError.
    """
    check_names(name, alias)
    wanted = None if to is None else checked_number(to)
    client = connect(tracking_uri)
    with answering(f"{name}@{alias} could not be rolled back"):
        model = client.get_registered_model(name)
        number = wanted or model.tags.get(tags.PREVIOUS + alias)
        if number is None:
            raise RefusedError(
                f"no version before is recorded for {name}@{alias}; name one with --to VERSION "
                f"(legion models show {name} lists them)"
            )
        version = _there(client, name, number)
        if version is None:
            raise RefusedError(f"{name} has no version {number} any more; name another with --to VERSION")
        found = registered(version)
        if found.golden is not None and found.golden.startswith("failed"):
            raise RefusedError(
                f"{name} version {number} has not passed its golden check ({found.golden}); force it with legion "
                "models promote --force"
            )
        before = aliases.move(client, name, alias, number)
        now = registered(client.get_model_version(name, number))
    return Moved(now, alias, before=None if before == number else before)


def _there(client: Any, name: str, number: str) -> Any | None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        return client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
