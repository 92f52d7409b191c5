"""`legion register`: an artifact into the model registry, without an experiment run."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from legion.artifact.archive import open_artifact
from legion.cli import progress, settings
from legion.errors import VerificationError
from legion.provision.check import can_check, check_artifact
from legion.registry.store import RegisteredVersion, check_names, push


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The registered model's name.")
@click.option("--alias", help="Point this alias at the version, such as champion.")
@click.option("--stage", help="Put the version in this stage: Staging, Production or Archived.")
@click.option(
    "--check/--no-check",
    default=None,
    help="Check the golden answers first; else only where the model's environment is there.",
)
@click.option("--env", type=click.Choice(("auto", "local", "uv", "conda", "docker")), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def register(
    artifact: Path, name: str, alias: str | None, stage: str | None, check: bool | None, env: str, as_json: bool
) -> None:
    """Register ARTIFACT in the registry of MLFLOW_TRACKING_URI, or MLflow's own local one.

    The same artifact again gives the version that is there. An artifact that does not give its golden answers is
    not registered.
    """
    check_names(name, alias, stage)
    version = push(artifact, name, alias=alias, stage=stage, golden=_golden(artifact, check, env))
    if as_json:
        click.echo(msgspec.json.encode(version))
        return
    show(version)
    click.echo(f"next: legion serve {uri(version, alias)}")


def _golden(path: Path, wanted: bool | None, env: str) -> str | None:
    """What the check gave, None where none was made."""
    if wanted is False:
        return None
    artifact = open_artifact(path)
    cache = settings.cache_folder()
    if wanted is None and not can_check(artifact, env=env, cache=cache):
        progress.say("not checked: the model's environment is not here; --check makes it, and so does a promotion")
        return None
    try:
        return check_artifact(artifact, env=env, cache=cache, say=progress.say)
    except VerificationError as error:
        raise VerificationError(f"not registered: {error}") from None


def show(version: RegisteredVersion) -> None:
    """The version, for people."""
    marks = [*(f"@{alias}" for alias in version.aliases), *([version.stage] if version.stage else [])]
    verb = "registered" if version.created else "was registered already:"
    click.echo(" ".join([verb, version.name, "version", version.version, *marks]))


def uri(version: RegisteredVersion, alias: str | None) -> str:
    """What to refer to the version by; the alias where one was set."""
    return f"models:/{version.name}@{alias}" if alias else f"models:/{version.name}/{version.version}"
