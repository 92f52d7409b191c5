"""`legion register`: an artifact into the model registry, without an experiment run."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from legion.registry.store import RegisteredVersion, push


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The registered model's name.")
@click.option("--alias", help="Point this alias at the version, such as champion.")
@click.option("--stage", help="Put the version in this stage: Staging, Production or Archived.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def register(artifact: Path, name: str, alias: str | None, stage: str | None, as_json: bool) -> None:
    """Register ARTIFACT in the registry of MLFLOW_TRACKING_URI, or MLflow's own local one.

    The same artifact again gives the version that is there.
    """
    version = push(artifact, name, alias=alias, stage=stage)
    if as_json:
        click.echo(msgspec.json.encode(version))
        return
    show(version)
    click.echo(f"next: legion serve {uri(version, alias)}")


def show(version: RegisteredVersion) -> None:
    """The version, for people."""
    marks = [*(f"@{alias}" for alias in version.aliases), *([version.stage] if version.stage else [])]
    verb = "registered" if version.created else "was registered already:"
    click.echo(" ".join([verb, version.name, "version", version.version, *marks]))


def uri(version: RegisteredVersion, alias: str | None) -> str:
    """What to refer to the version by; the alias where one was set."""
    return f"models:/{version.name}@{alias}" if alias else f"models:/{version.name}/{version.version}"
