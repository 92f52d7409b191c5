"""`legion train`: run an MLflow Project, pack the model it logs and, on request, register it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from typing import Any

import click

from legion import api
from legion.cli import options, pack, register
from legion.cli.json_output import print_json_line
from legion.cli.progress import TERMINAL
from legion.cli.signals import interrupt_on
from legion.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@click.command()
@click.argument("project")
@click.option("-e", "--entry-point", default="main", show_default=True, help="The MLproject's entry point.")
@click.option("-P", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter. Repeatable.")
@options.env("Environment to run the project in.")
@click.option("--git-version", help="Branch, tag or commit of a git project.")
@click.option("--experiment-name", "experiment", help="Experiment to record the run in.")
@click.option("--model", help="Which of the run's models to pack, if it logs several.")
@click.option("--name", help="The artifact's name. Default: the project's.")
@click.option("--version", help="Its version, such as 1.0.0-rc1. Default: one from the model's id.")
@options.output
@click.option("--register", metavar="NAME", help="Register the artifact under this name.")
@click.option("--alias", help="Point this alias at the registered version.")
@options.as_json
def train(parameters: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Run PROJECT, a folder or a git URI (with #SUBFOLDER), and pack the model it logs.

    With --json the run's own output goes to standard error.
    """
    assigned = read_assignments(parameters)
    # What ends this process from outside ends the project too, as an interrupt does.
    interrupt_on(signal.SIGTERM, signal.SIGHUP)
    done = api.training.train(parameters=assigned, output_to_stderr=as_json, **given, progress=TERMINAL)
    if as_json:
        print_json_line(done)
    else:
        _show(done, given["alias"])


def read_assignments(lines: Iterable[str]) -> dict[str, str]:
    """`name=value` texts as a mapping. Raises UsageError for a text without =, an invalid or a repeated name."""
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError(f"-P {line!r} is not a parameter; write -P NAME=VALUE")
        if name in found:
            raise UsageError(f"-P {name} is given twice; give it once")
        found[name] = value
    return found


def _show(done: api.training.Trained, alias: str | None) -> None:
    if done.artifact is None:
        click.echo(f"run {done.run_id} is done; it logged no model, so nothing was packed")
        return
    click.echo(f"run {done.run_id} logged {done.model.name if done.model else 'a model'}")
    pack.show(done.artifact)
    if done.registered is None:
        click.echo(f"next: legion serve {done.artifact.path}")
    else:
        register.show(done.registered)
        click.echo(f"next: legion serve {register.uri(done.registered, alias)}")
