"""`legion pack`: a model as one portable file."""

from __future__ import annotations

from typing import Any

import click

from legion import api
from legion.api.sizes import shown
from legion.cli import options
from legion.cli.json_output import print_json_line
from legion.cli.progress import TERMINAL


@click.command()
@click.argument("model", metavar="SOURCE")
@click.option("--name", help="The artifact's name. Default: the model's own.")
@click.option("--version", help="Its version, such as 1.0.0-rc1. Default: one from the model's id.")
@options.output
@options.env("Environment to run the model in while packing.")
@click.option("--golden", metavar="FILE", help="JSON file of example requests, for a JAR or a GPPI folder.")
@click.option("--jvm-option", "jvm_options", multiple=True, help="JVM option for a JAR, such as -Xmx512m. Repeatable.")
@options.as_json
def pack(as_json: bool, **given: Any) -> None:
    """Pack SOURCE into one file.

    SOURCE is a folder (an MLflow model, or a model with its own legion.model.yaml), a model's JAR, runs:/ID/PATH or
    models:/NAME@ALIAS.
    """
    made = api.packing.pack(**given, progress=TERMINAL)
    if as_json:
        print_json_line(made)
        return
    show(made)
    click.echo(f"next: legion serve {made.path}")


def show(made: api.packing.Packed) -> None:
    """What was packed, for people."""
    click.echo(f"packed {made.name} {made.version} into {made.path} ({shown(made.size)})")
    click.echo(f"digest {made.digest}")
