"""`legion models`: what the registry holds, and which version its aliases mean."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from legion.cli import progress, settings
from legion.cli.pack import describe
from legion.cli.pack import show as show_packed
from legion.cli.tables import printable, show_line, show_table
from legion.client import Client
from legion.errors import LegionError, UsageError, VerificationError
from legion.provision.check import check
from legion.reference import parse as parse_reference
from legion.registry import delete as deletion
from legion.registry import promote as promotion
from legion.registry import rollback as way_back
from legion.registry import tags, versions
from legion.registry.store import RegisteredVersion, resolve
from legion.settings import admin_token, gateway_url
from legion.toolchain.export import Wish
from legion.toolchain.packing import make_artifact

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_ENV = click.option(
    "--env", type=click.Choice(("auto", "local", "uv", "conda", "docker")), default="auto", show_default=True
)
# Who serves a version is said beside the rest, and not worth waiting for.
_PATIENCE = 3.0


@click.group()
def models() -> None:
    """Look after the registry of MLFLOW_TRACKING_URI, or MLflow's own local one."""


@models.command("list")
@_JSON
def list_all(as_json: bool) -> None:
    """List the registered models."""
    found = versions.models()
    if as_json:
        _print_json(found)
        return
    if not found:
        click.echo("no models are registered; legion register ARTIFACT --name NAME makes the first")
        return
    show_table(
        ("NAME", "NEWEST", "ALIASES", "STAGES"),
        [(model.name, model.latest or "", _pairs(model.aliases, "@"), _pairs(model.stages, "")) for model in found],
    )


@models.command()
@click.argument("name")
@click.option("--gateway", metavar="URL", help="Whom to ask who serves; else LEGION_GATEWAY, else port 5001 here.")
@_JSON
def show(name: str, gateway: str | None, as_json: bool) -> None:
    """Show NAME: its versions, aliases and stages, what was checked, and which deployments serve it."""
    found = versions.detail(name)
    url = gateway_url(os.environ, gateway)
    served, unreachable = _serving(url, name)
    if as_json:
        rows = [
            {
                **msgspec.structs.asdict(version),
                "served_by": None if served is None else served.get(version.version, []),
            }
            for version in found.versions
        ]
        _print_json(
            {**msgspec.structs.asdict(found), "versions": rows, "gateway": {"url": url, "unreachable": unreachable}}
        )
        return
    show_table(
        ("VERSION", "MEANT BY", "ARTIFACT", "GOLDEN", "DIGEST", "SERVED BY"),
        [_row(version, served) for version in found.versions],
    )
    for line in _remarks(found, unreachable):
        show_line(line)


@models.command()
@click.argument("name")
@click.argument("version")
@click.option("--alias", help="The alias to move; champion where neither this nor --stage is given.")
@click.option("--stage", help="The stage to put it in: Staging, Production or Archived.")
@click.option("--force", is_flag=True, help="Promote it without a passed golden check; it is recorded.")
@click.option("--reason", help="Why it is forced.")
@_ENV
@_JSON
def promote(
    name: str,
    version: str,
    alias: str | None,
    stage: str | None,
    force: bool,
    reason: str | None,
    env: str,
    as_json: bool,
) -> None:
    """Let an alias or a stage mean VERSION, once its golden check has passed.

    A version that nobody has checked yet is checked first. Exit code 1 where it has not passed.
    """
    if force != bool(reason):
        raise UsageError("a forced promotion is recorded with its reason; give --force and --reason TEXT together")
    if alias is None and stage is None:
        alias = "champion"
    if not force:
        _checked(versions.one(name, version), env)
    moved = promotion.promote(name, version, alias=alias, stage=stage, forced=reason)
    if as_json:
        _print_json(moved)
        return
    _show_moved(moved)
    if moved.forced:
        click.echo(f"forced: {printable(moved.forced)}")


@models.command()
@click.argument("name")
@click.option("--alias", default="champion", show_default=True, help="The alias to move back.")
@click.option("--to", metavar="VERSION", help="The version; else the one the alias pointed to before.")
@_JSON
def rollback(name: str, alias: str, to: str | None, as_json: bool) -> None:
    """Let an alias of NAME mean the version before; rolling back twice returns."""
    moved = way_back.rollback(name, alias=alias, to=to)
    if as_json:
        _print_json(moved)
        return
    _show_moved(moved)


@models.command()
@click.argument("reference")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file, or a folder for NAME-VERSION.zip.")
@_ENV
@_JSON
def pull(reference: str, output: Path | None, env: str, as_json: bool) -> None:
    """Fetch models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID/PATH as one file.

    What Legion registered is compared with what was pushed; a model that plain MLflow registered is packed.
    """
    parsed = parse_reference(reference)
    if parsed.scheme == "path":
        raise UsageError(f"{reference!r} is a path; give models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID/PATH")
    made = make_artifact(
        parsed,
        Wish(out=output, env=env),
        cache=settings.cache_folder(),
        say=progress.say,
        packing=lambda total: progress.bar("packing", total),
    )
    if as_json:
        _print_json(describe(made))
        return
    show_packed(made)
    if parsed.alias or parsed.version:
        known = resolve(parsed).digest
        if known is not None and known != made.digest:
            click.echo(f"its content is what was registered; {known[:19]} was compressed by another zip library")


@models.command()
@click.argument("target", metavar="NAME[/VERSION]")
@click.option("--force", is_flag=True, help="Even where an alias points to it, or it is in Production.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
def delete(target: str, force: bool, yes: bool, as_json: bool) -> None:
    """Delete one version, or a model with all its versions.

    Exit code 1 where an alias points to a version, or it is in Production.
    """
    name, slash, version = target.removeprefix("models:/").partition("/")
    if slash and not version:
        raise UsageError(f"{target!r} names no version; give NAME/VERSION, or NAME for all of it")
    if not yes:
        _confirm(f"delete {name} version {version}" if slash else f"delete {name} with all its versions")
    gone = deletion.delete(name, version or None, force=force)
    if as_json:
        _print_json(gone)
        return
    count = "1 version" if len(gone.versions) == 1 else f"{len(gone.versions)} versions"
    click.echo(f"deleted {name} with {count}" if gone.whole else f"deleted {name} version {gone.versions[0]}")


def _checked(version: RegisteredVersion, env: str) -> None:
    """Check a version that has not passed yet, and record what it gave. Raises VerificationError."""
    if version.golden == tags.NO_GOLDEN or tags.has_passed(version.golden):
        return
    text = f"models:/{version.name}/{version.version}"
    try:
        golden = check(text, env=env, cache=settings.cache_folder(), say=progress.say, digest=version.digest)
    except VerificationError as error:
        versions.record_golden(version.name, version.version, tags.failed(str(error)))
        raise
    versions.record_golden(version.name, version.version, golden)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("deleting asks first, and there is no terminal to ask on; give --yes")
    if not click.confirm(f"{question}?", err=True):
        raise click.exceptions.Abort


def _serving(url: str, name: str) -> tuple[dict[str, list[str]] | None, str | None]:
    """Version → the deployments that serve it, and None; or None and why the gateway cannot be asked."""
    served: dict[str, list[str]] = {}
    try:
        with Client(url, admin_token(os.environ, url), _PATIENCE) as client:
            views = client.deployments()
    except LegionError as error:
        return None, str(error)
    for view in views:
        for variant in view["variants"]:
            for state in ("serving", "standby"):
                known = (variant[state] or {}).get("registered")
                if known and known["name"] == name:
                    place = view["name"] if len(view["variants"]) == 1 else f"{view['name']}/{variant['name']}"
                    served.setdefault(str(known["version"]), []).append(
                        place + (" (warm)" if state == "standby" else "")
                    )
    return served, None


def _row(version: RegisteredVersion, served: dict[str, list[str]] | None) -> tuple[str, ...]:
    meant = [*(f"@{alias}" for alias in version.aliases), *([version.stage] if version.stage else [])]
    golden = "not checked" if version.golden is None else version.golden.split(":")[0]
    return (
        version.version,
        " ".join(meant),
        version.artifact_version or "",
        golden,
        (version.digest or "").removeprefix("sha256:")[:12],
        "unknown" if served is None else ", ".join(served.get(version.version, [])),
    )


def _remarks(found: versions.Detail, unreachable: str | None) -> list[str]:
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
        lines.append(f"@{alias} meant version {number} before; legion models rollback {found.name} --alias {alias}")
    if unreachable is not None:
        lines.append(f"who serves is unknown: {unreachable}")
    return lines


def _show_moved(moved: promotion.Moved) -> None:
    version = moved.version
    if moved.alias is None:
        click.echo(f"{version.name} version {version.version} is in {moved.stage}")
        click.echo(f"next: legion serve models:/{version.name}/{moved.stage}")
        return
    before = f"; before it was {moved.before}" if moved.before else ""
    click.echo(f"{version.name}@{moved.alias} means version {version.version}{before}")
    click.echo(f"next: legion serve models:/{version.name}@{moved.alias}")


def _pairs(meant: dict[str, str], sign: str) -> str:
    return ", ".join(f"{sign}{key}={number}" for key, number in sorted(meant.items()))


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())
