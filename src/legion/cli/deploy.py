"""`legion deploy`: deployments of a running gateway, through its admin API."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from legion.artifact import strict_yaml
from legion.cli.progress import say
from legion.client import Client, admin_token, gateway_url
from legion.errors import ModelReferenceError, RefusedError, UsageError
from legion.reference import parse as parse_reference

_Command = TypeVar("_Command", bound=Callable[..., None])
_HEAD = ("NAME", "STATE", "VARIANT", "WEIGHT", "MODEL", "SERVES", "SINCE")


def _options(command: _Command) -> _Command:
    gateway = click.option("--gateway", metavar="URL", help="The gateway; else LEGION_GATEWAY, else port 5001 here.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return gateway(as_json(command))


def _connected(gateway: str | None) -> Client:
    url = gateway_url(os.environ, gateway)
    return Client(url, admin_token(os.environ, url))


@click.group()
def deploy() -> None:
    """Deploy models to a running gateway, and look after what is deployed.

    The gateway's admin token is that of LEGION_ADMIN_TOKEN; for a gateway of this machine and user it is found.
    """


@deploy.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--no-wait", is_flag=True, help="Return when it is accepted, not when it is ready.")
@click.option(
    "--timeout", type=click.FloatRange(0), default=600.0, show_default=True, help="Seconds to wait until it is ready."
)
@_options
def local(file: Path, no_wait: bool, timeout: float, gateway: str | None, as_json: bool) -> None:
    """Deploy what FILE, a DEPLOYMENT.yaml, declares; the deployment of that name is replaced when it is ready.

    Exit code 0 when it is ready, 1 when it was refused: what served before goes on then.
    """
    declaration = _read(file)
    with _connected(gateway) as client:
        view = client.deploy(declaration)
        if not no_wait:
            view = client.wait(view["name"], timeout, say)
        _show(view, client.url, as_json)


@deploy.command("list")
@_options
def list_all(gateway: str | None, as_json: bool) -> None:
    """List the gateway's deployments."""
    with _connected(gateway) as client:
        views = client.deployments()
        if as_json:
            _print_json(views)
        elif views:
            _print_table(_HEAD, [row for view in views for row in _rows(view)])
        else:
            click.echo(f"nothing is deployed at {client.url}")


@deploy.command()
@click.argument("name")
@_options
def show(name: str, gateway: str | None, as_json: bool) -> None:
    """Show the deployment NAME: what serves, what is starting, what was refused and why."""
    with _connected(gateway) as client:
        _show(client.deployment(name), client.url, as_json)


@deploy.command()
@click.argument("name")
@_options
def delete(name: str, gateway: str | None, as_json: bool) -> None:
    """End the deployment NAME once it has answered what it has taken in."""
    with _connected(gateway) as client:
        view = client.delete(name)
    if as_json:
        _print_json(view)
    else:
        click.echo(f"{name} is no longer deployed")


@deploy.command()
@click.argument("name")
@click.option("--variant", help="The variant; else the first.")
@click.option("--timeout", type=click.FloatRange(0), default=600.0, show_default=True, help="Seconds to wait.")
@_options
def rollback(name: str, variant: str | None, timeout: float, gateway: str | None, as_json: bool) -> None:
    """Go back to the release that NAME served before, at once where it is kept warm.

    It stays there until its alias moves again or it is deployed anew.
    """
    with _connected(gateway) as client:
        client.rollback(name, variant)
        _show(client.wait(name, timeout, say), client.url, as_json)


def _read(file: Path) -> dict[str, Any]:
    """The declaration as the gateway takes it; a model's relative path is one from the file's folder."""
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


def _show(view: dict[str, Any], url: str, as_json: bool) -> None:
    if as_json:
        _print_json(view)
        return
    _print_table(_HEAD, _rows(view))
    for variant in view["variants"]:
        if variant["starting"]:
            _echo(f"{variant['name']}: {variant['starting']}")
        if variant["refused"]:
            _echo(f"{variant['name']}: refused at {variant['refused']['at']}: {variant['refused']['reason']}")
        if variant["standby"]:
            _echo(f"{variant['name']}: {_release(variant['standby'])} is kept warm for a rollback")
        if variant["registry"]:
            _echo(f"{variant['name']}: {variant['registry']}")
    if view["pinned"]:
        _echo("pinned by a rollback: it follows its alias again when that moves, or when it is deployed anew")
    _echo(f"answers at {url}{view['paths'][0]}")


def _rows(view: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            view["name"],
            view["state"],
            variant["name"],
            f"{variant['weight']:g}",
            variant["model"],
            _release(variant["serving"]),
            variant["serving"]["since"] if variant["serving"] else "-",
        )
        for variant in view["variants"]
    ]


def _release(release: dict[str, Any] | None) -> str:
    if release is None:
        return "-"
    registered = release["registered"]
    known = f" (version {registered['version']} of {registered['name']})" if registered else ""
    return f"{release['artifact']} {release['artifact_version']}{known}"


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        _echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _echo(line: str) -> None:
    """A line from the gateway, without what a terminal would act on."""
    click.echo("".join(char for char in line if char.isprintable()))


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())
