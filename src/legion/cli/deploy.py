"""`legion deploy`: the deployments of a running gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from legion import api
from legion.cli import options
from legion.cli.json_output import print_json
from legion.cli.progress import TERMINAL
from legion.cli.tables import printable, show_table
from legion.settings import gateway_url

_HEAD = ("NAME", "STATE", "VARIANT", "WEIGHT", "MODEL", "SERVES", "SINCE")
_TIMEOUT = click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    help="Seconds to wait until the deployment is ready.",
)


@click.group()
def deploy() -> None:
    """Deploy models to a running gateway, and manage its deployments.

    The gateway's admin token is LEGION_ADMIN_TOKEN; that of a gateway of this machine and user is found by itself.
    """


@deploy.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--no-wait", is_flag=True, help="Return once the deployment is accepted, not when it is ready.")
@_TIMEOUT
@options.gateway
@options.as_json
def local(file: Path, no_wait: bool, timeout: float, gateway: str | None, as_json: bool) -> None:
    """Deploy FILE, a DEPLOYMENT.yaml. An existing deployment of that name is replaced once the new one is ready.

    Exit code 0 when it is ready, 1 when it was refused: the existing one keeps serving then.
    """
    view = api.deployments.deploy(file, gateway=gateway, wait=not no_wait, timeout=timeout, progress=TERMINAL)
    _show(view, gateway, as_json)


@deploy.command("list")
@options.gateway
@options.as_json
def list_all(gateway: str | None, as_json: bool) -> None:
    """List the gateway's deployments."""
    views = api.deployments.list(gateway=gateway)
    if as_json:
        print_json(views)
    elif views:
        show_table(_HEAD, [row for view in views for row in _rows(view)])
    else:
        click.echo(f"nothing is deployed at {_url(gateway)}")


@deploy.command()
@click.argument("name")
@options.gateway
@options.as_json
def show(name: str, gateway: str | None, as_json: bool) -> None:
    """Show the deployment NAME: what serves, what is starting, what was refused and why."""
    _show(api.deployments.show(name, gateway=gateway), gateway, as_json)


@deploy.command()
@click.argument("name")
@options.gateway
@options.as_json
def delete(name: str, gateway: str | None, as_json: bool) -> None:
    """End the deployment NAME once it has answered the requests it has accepted."""
    view = api.deployments.delete(name, gateway=gateway)
    if as_json:
        print_json(view)
    else:
        click.echo(f"{name} is no longer deployed")


@deploy.command()
@click.argument("name")
@click.option("--variant", help="The variant to roll back. Default: the first.")
@_TIMEOUT
@options.gateway
@options.as_json
def rollback(as_json: bool, **given: Any) -> None:
    """Return to the previous release of NAME; it serves at once if it is kept warm.

    It stays until its alias moves again or it is redeployed.
    """
    _show(api.deployments.rollback(**given, progress=TERMINAL), given["gateway"], as_json)


def _url(gateway: str | None) -> str:
    return gateway_url(os.environ, gateway).rstrip("/")


def _show(view: dict[str, Any], gateway: str | None, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    show_table(_HEAD, _rows(view))
    for line in _remarks(view):
        click.echo(printable(line))
    click.echo(printable(f"answers at {_url(gateway)}{view['paths'][0]}"))


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
        yield "pinned by a rollback: it follows its alias again once that moves, or once it is redeployed"


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
