"""`legion register`: an artifact as a version in the model registry."""

from __future__ import annotations

from typing import Any

import click

from legion import api
from legion.cli import options
from legion.cli.json_output import print_json_line
from legion.cli.progress import TERMINAL


@click.command()
@click.argument("artifact", type=click.Path())
@click.option("--name", required=True, help="Name of the registered model.")
@click.option("--alias", help="Point this alias at the version, such as champion.")
@click.option("--stage", help="Put the version in this stage: Staging, Production or Archived.")
@click.option(
    "--check/--no-check",
    default=None,
    help="Whether to check the golden answers first. Default: if the model's environment exists already.",
)
@options.env("Environment to check the model in.")
@options.as_json
def register(as_json: bool, **given: Any) -> None:
    """Register ARTIFACT in the registry at MLFLOW_TRACKING_URI, or MLflow's own local one. No run is created.

    Registering the same artifact again returns the existing version. An artifact that does not give its golden
    answers is not registered.
    """
    version = api.registration.register(**given, progress=TERMINAL)
    if as_json:
        print_json_line(version)
        return
    show(version)
    click.echo(f"next: legion serve {uri(version, given['alias'])}")


def show(version: api.registration.RegisteredVersion) -> None:
    """The version, for people."""
    marks = [*(f"@{alias}" for alias in version.aliases), *([version.stage] if version.stage else [])]
    verb = "registered" if version.created else "already registered:"
    click.echo(" ".join([verb, version.name, "version", version.version, *marks]))


def uri(version: api.registration.RegisteredVersion, alias: str | None) -> str:
    """A reference to the version; by the alias where one was set."""
    return f"models:/{version.name}@{alias}" if alias else f"models:/{version.name}/{version.version}"
