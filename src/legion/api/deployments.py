"""`legion.deploy`, `legion.connect` and `legion.deployments`: the deployments of a running gateway."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from legion.api.declaration_file import read_declaration
from legion.api.progress import LOGGED, Progress
from legion.client import Client as Client
from legion.settings import admin_token, gateway_url

# A deployment as the admin API describes it: `name`, `state`, `paths`, `variants` …
View = dict[str, Any]


def connect(gateway: str | None = None, *, timeout: float = 60.0) -> Client:
    """A client of the gateway at this URL, else LEGION_GATEWAY, else http://127.0.0.1:5001. Nothing is sent yet.

    Its admin token is LEGION_ADMIN_TOKEN, else the one that a gateway of this machine and user keeps.
    `timeout`: seconds that the gateway may be silent. Raises UsageError for an invalid URL.
    """
    url = gateway_url(os.environ, gateway)
    return Client(url, admin_token(os.environ, url), timeout)


def deploy(
    declaration: Mapping[str, Any] | str | PathLike[str],
    *,
    gateway: str | None = None,
    wait: bool = True,
    timeout: float = 600.0,
    progress: Progress = LOGGED,
) -> View:
    """Deploy a DEPLOYMENT.yaml, or a mapping of the same fields, to a gateway.

    Returns the deployment (`name`, `state`, `paths`, `variants` …) once it is ready, for which it waits `timeout`
    seconds, or at once without `wait`. An existing deployment of that name answers until the new one is ready.

    Raises RefusedError with every problem of the declaration, or with the reason why its model was refused (the
    existing one keeps serving then); UsageError for a file that cannot be read; GatewayError where no gateway answers.
    """
    if not isinstance(declaration, Mapping):
        declaration = read_declaration(Path(declaration).expanduser())
    with connect(gateway) as client:
        view = client.deploy(declaration)
        return client.wait(view["name"], timeout, progress.say) if wait else view


# Named as the command `legion deploy list`.
def list(*, gateway: str | None = None) -> tuple[View, ...]:  # noqa: A001
    """All deployments of a gateway. Raises GatewayRefused without the right admin token, GatewayError."""
    with connect(gateway) as client:
        return tuple(client.deployments())


def show(name: str, *, gateway: str | None = None) -> View:
    """One deployment. Raises GatewayRefused (`status` 404 where it does not exist), GatewayError."""
    with connect(gateway) as client:
        return client.deployment(name)


def delete(name: str, *, gateway: str | None = None) -> View:
    """End a deployment once it has answered the requests it has accepted; returns its last state.

    Raises GatewayRefused (`status` 404 where it does not exist), GatewayError.
    """
    with connect(gateway) as client:
        return client.delete(name)


def rollback(
    name: str,
    *,
    variant: str | None = None,
    gateway: str | None = None,
    timeout: float = 600.0,
    progress: Progress = LOGGED,
) -> View:
    """Return to the previous release of a variant, by default the first, and wait `timeout` seconds until it serves.

    It serves at once where it is kept warm, and stays until its alias moves again or it is redeployed.
    Raises GatewayRefused (`status` 409 where there is no previous release), RefusedError, GatewayError.
    """
    with connect(gateway) as client:
        client.rollback(name, variant)
        return client.wait(name, timeout, progress.say)
