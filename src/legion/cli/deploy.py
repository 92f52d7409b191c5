"""`legion deploy`: deployments of a running gateway, through its admin API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from legion.api.deployments import connect, read_declaration
from legion.cli.progress import say
from legion.cli.tables import printable, show_table

_Command = TypeVar("_Command", bound=Callable[..., None])
_HEAD = ("NAME", "STATE", "VARIANT", "WEIGHT", "MODEL", "SERVES", "SINCE")


def _options(command: _Command) -> _Command:
    gateway = click.option("--gateway", metavar="URL", help="The gateway; else LEGION_GATEWAY, else port 5001 here.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return gateway(as_json(command))


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
    declaration = read_declaration(file)
    with connect(gateway) as client:
        view = client.deploy(declaration)
        if not no_wait:
            view = client.wait(view["name"], timeout, say)
        _show(view, client.url, as_json)


@deploy.command("list")
@_options
def list_all(gateway: str | None, as_json: bool) -> None:
    """List the gateway's deployments."""
    with connect(gateway) as client:
        views = client.deployments()
        if as_json:
            _print_json(views)
        elif views:
            show_table(_HEAD, [row for view in views for row in _rows(view)])
        else:
            click.echo(f"nothing is deployed at {client.url}")


@deploy.command()
@click.argument("name")
@_options
def show(name: str, gateway: str | None, as_json: bool) -> None:
    """Show the deployment NAME: what serves, what is starting, what was refused and why."""
    with connect(gateway) as client:
        _show(client.deployment(name), client.url, as_json)


@deploy.command()
@click.argument("name")
@_options
def delete(name: str, gateway: str | None, as_json: bool) -> None:
    """End the deployment NAME once it has answered what it has taken in."""
    with connect(gateway) as client:
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
    with connect(gateway) as client:
        client.rollback(name, variant)
        _show(client.wait(name, timeout, say), client.url, as_json)


def _show(view: dict[str, Any], url: str, as_json: bool) -> None:
    if as_json:
        _print_json(view)
        return
    show_table(_HEAD, _rows(view))
    for line in _remarks(view):
        click.echo(printable(line))
    click.echo(printable(f"answers at {url}{view['paths'][0]}"))


def _remarks(view: dict[str, Any]) -> Iterator[str]:
    for variant in view["variants"]:
        name, refused, standby = variant["name"], variant["refused"], variant["standby"]
        if variant["starting"]:
            yield f"{name}: {variant['starting']}"
        if refused:
            yield f"{name}: refused at {refused['at']}: {refused['reason']}"
        if standby:
            yield f"{name}: {_release(standby)} is kept warm for a rollback"
        if variant["registry"]:
            yield f"{name}: {variant['registry']}"
    if view["pinned"]:
        yield "pinned by a rollback: it follows its alias again when that moves, or when it is deployed anew"


def _rows(view: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            view["name"],
            view["state"],
            variant["name"],
            f"{variant['weight']:g}",
            variant["model"],
            _release(variant["serving"]),
            variant["serving"]["since"] if variant["serving"] else "",
        )
        for variant in view["variants"]
    ]


def _release(release: dict[str, Any] | None) -> str:
    if release is None:
        return ""
    registered = release["registered"]
    known = f" (version {registered['version']} of {registered['name']})" if registered else ""
    return f"{release['artifact']} {release['artifact_version']}{known}"


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())
