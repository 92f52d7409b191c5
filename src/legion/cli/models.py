"""`legion models`: the registered models, and the versions that their aliases and stages point to."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from legion import api
from legion.cli import options
from legion.cli import pack as packing
from legion.cli.json_output import print_json
from legion.cli.progress import TERMINAL
from legion.cli.tables import printable, show_line, show_table
from legion.errors import UsageError


@click.group()
def models() -> None:
    """Manage the models registered at MLFLOW_TRACKING_URI, or in MLflow's own local registry."""


@models.command("list")
@options.as_json
def list_all(as_json: bool) -> None:
    """List the registered models."""
    found = api.models.list()
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no models are registered; register one with legion register ARTIFACT --name NAME")
        return
    show_table(
        ("NAME", "NEWEST", "ALIASES", "STAGES"),
        [(model.name, model.latest or "", _pairs(model.aliases, "@"), _pairs(model.stages, "")) for model in found],
    )


@models.command()
@click.argument("name")
@options.gateway
@options.as_json
def show(name: str, gateway: str | None, as_json: bool) -> None:
    """Show NAME: its versions, aliases and stages, check results, and the deployments that serve it."""
    found = api.models.show(name, gateway=gateway)
    if as_json:
        print_json(found)
        return
    show_table(
        ("VERSION", "ALIASES", "ARTIFACT", "GOLDEN", "DIGEST", "SERVED BY"),
        [_row(version) for version in found.versions],
    )
    for line in _remarks(found):
        show_line(line)


@models.command()
@click.argument("name")
@click.argument("version")
@click.option("--alias", help="Alias to point at VERSION. Default: champion, unless --stage is given.")
@click.option("--stage", help="Stage to put VERSION in: Staging, Production or Archived.")
@click.option("--force", is_flag=True, help="Skip the golden check; this is recorded with the reason.")
@click.option("--reason", help="Why the check is skipped.")
@options.env("Environment to check the model in.")
@options.as_json
def promote(force: bool, reason: str | None, as_json: bool, **given: Any) -> None:
    """Point an alias or a stage at VERSION, if its golden check passes.

    A version that has not been checked yet is checked first. Exit code 1 where it has not passed.
    """
    if force != bool(reason):
        raise UsageError("a forced promotion is recorded with its reason; give --force and --reason TEXT together")
    moved = api.models.promote(**given, force=reason, progress=TERMINAL)
    if as_json:
        print_json(moved)
        return
    _show_moved(moved)
    if moved.forced:
        click.echo(f"forced: {printable(moved.forced)}")


@models.command()
@click.argument("name")
@click.option("--alias", default="champion", show_default=True, help="The alias to move back.")
@click.option("--to", metavar="VERSION", help="The version to go to. Default: the alias's previous one.")
@options.as_json
def rollback(as_json: bool, **given: Any) -> None:
    """Point an alias of NAME back at its previous version. Rolling back twice undoes it."""
    moved = api.models.rollback(**given)
    if as_json:
        print_json(moved)
        return
    _show_moved(moved)


@models.command()
@click.argument("reference")
@options.output
@options.env("Environment to run the model in while packing.")
@options.as_json
def pull(as_json: bool, **given: Any) -> None:
    """Download models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID/PATH as one file.

    A model that Legion registered is compared with what was pushed; one that plain MLflow registered is packed.
    """
    made = api.models.pull(**given, progress=TERMINAL)
    if as_json:
        print_json(made)
        return
    packing.show(made)
    if made.registered_digest not in (None, made.digest):
        click.echo(f"same content as registered; {made.registered_digest[:19]} was compressed by another zip library")


@models.command()
@click.argument("target", metavar="NAME[/VERSION]")
@click.option("--force", is_flag=True, help="Delete it even if an alias points to it, or it is in Production.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@options.as_json
def delete(target: str, force: bool, yes: bool, as_json: bool) -> None:
    """Delete one version, or a model with all its versions.

    Exit code 1 where an alias points to a version, or it is in Production.
    """
    name, slash, version = target.removeprefix("models:/").partition("/")
    if slash and not version:
        raise UsageError(f"{target!r} names no version; give NAME/VERSION, or NAME for all of it")
    if not yes:
        _confirm(f"delete {name} version {version}" if slash else f"delete {name} with all its versions")
    gone = api.models.delete(name, version or None, force=force)
    if as_json:
        print_json(gone)
        return
    count = "1 version" if len(gone.versions) == 1 else f"{len(gone.versions)} versions"
    click.echo(f"deleted {name} with {count}" if gone.whole else f"deleted {name} version {gone.versions[0]}")


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("deleting needs a confirmation, and there is no terminal to ask on; add --yes")
    if not click.confirm(f"{question}?", err=True):
        raise click.exceptions.Abort


def _row(version: api.models.ServedVersion) -> tuple[str, ...]:
    names = [*(f"@{alias}" for alias in version.aliases), *([version.stage] if version.stage else [])]
    return (
        version.version,
        " ".join(names),
        version.artifact_version or "",
        "not checked" if version.golden is None else version.golden.split(":")[0],
        (version.digest or "").removeprefix("sha256:")[:12],
        "unknown" if version.served_by is None else ", ".join(version.served_by),
    )


def _remarks(found: api.models.ModelDetail) -> list[str]:
    """What does not fit into the table."""
    lines = []
    for version in found.versions:
        if version.golden is not None and version.golden.startswith("failed"):
            lines.append(f"version {version.version} {version.golden}")
        if version.refused is not None:
            lines.append(f"version {version.version} was refused: {version.refused}")
        if version.version in found.forced:
            lines.append(f"version {version.version} was forced: {found.forced[version.version]}")
    for alias, number in found.previous.items():
        command = f"legion models rollback {found.name} --alias {alias}"
        lines.append(f"@{alias} pointed to version {number} before; {command}")
    if found.gateway.unreachable is not None:
        lines.append(f"serving status unknown: {found.gateway.unreachable}")
    return lines


def _show_moved(moved: api.models.Moved) -> None:
    version = moved.version
    if moved.alias is None:
        click.echo(f"{version.name} version {version.version} is in {moved.stage}")
        click.echo(f"next: legion serve models:/{version.name}/{moved.stage}")
        return
    before = f" (before: version {moved.before})" if moved.before else ""
    click.echo(f"{version.name}@{moved.alias} points to version {version.version}{before}")
    click.echo(f"next: legion serve models:/{version.name}@{moved.alias}")


def _pairs(versions: Mapping[str, str], sign: str) -> str:
    return ", ".join(f"{sign}{key}={number}" for key, number in sorted(versions.items()))
