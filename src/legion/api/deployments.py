"""`legion.deploy` and `legion.connect`: a running gateway."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from legion.api.settings import say
from legion.client import Client
from legion.documents import strict_yaml
from legion.errors import ModelReferenceError, RefusedError, UsageError
from legion.reference import parse as parse_reference
from legion.settings import admin_token, gateway_url


def connect(gateway: str | None = None, *, timeout: float = 60.0) -> Client:
    """A client of a gateway: this URL, else LEGION_GATEWAY, else http://127.0.0.1:5001. Nothing is sent yet.

    Its admin token is LEGION_ADMIN_TOKEN, else the one that a gateway of this machine and user keeps.
    `timeout` is in seconds: how long the gateway may be silent. Raises UsageError for what is no URL.
    """
    url = gateway_url(os.environ, gateway)
    return Client(url, admin_token(os.environ, url), timeout)


def deploy(
    declaration: Mapping[str, Any] | str | PathLike[str],
    *,
    gateway: str | None = None,
    wait: bool = True,
    timeout: float = 600.0,
) -> dict[str, Any]:
    """Deploy to a gateway what a DEPLOYMENT.yaml, or a mapping of the same fields, declares.

    Returns the deployment (`name`, `state`, `paths`, `variants` …) when it is ready: at most `timeout` seconds
    later, or at once without `wait`. The deployment of that name is replaced then and answers until then.

    Raises RefusedError with every fault of the declaration, or with the reason why its model was not taken (what
    served before goes on); UsageError for a file that cannot be read; GatewayError where no gateway answers.
    """
    if not isinstance(declaration, Mapping):
        declaration = read_declaration(Path(declaration).expanduser())
    with connect(gateway) as client:
        view = client.deploy(declaration)
        return client.wait(view["name"], timeout, say) if wait else view


def read_declaration(file: Path) -> dict[str, Any]:
    """A DEPLOYMENT.yaml as the gateway takes it; a model's relative path is one from the file's folder.

    What the fields hold is checked by the gateway. Raises UsageError where the file cannot be read, RefusedError
    where it is no YAML that is read here.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); give a DEPLOYMENT.yaml") from None
    tree, faults = strict_yaml.read(text)
    if faults:
        raise RefusedError(f"{file} cannot be deployed: " + "; ".join(f"{path}: {text}" for path, text in faults))
    declaration = strict_yaml.typed(tree)
    if not isinstance(declaration, dict):
        raise RefusedError(f"{file} cannot be deployed: it holds no fields; write name and model, or name and variants")
    variants = declaration.get("variants")
    for place in (declaration, *(variants if isinstance(variants, list) else ())):
        if isinstance(place, dict) and isinstance(place.get("model"), str):
            place["model"] = _absolute(place["model"], file.absolute().parent)
    return declaration


def _absolute(model: str, folder: Path) -> str:
    try:
        reference = parse_reference(model)
    except ModelReferenceError:
        # The gateway names all faults at once.
        return model
    return str(folder / reference.path) if reference.scheme == "path" else model
