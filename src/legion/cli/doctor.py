"""`legion doctor`: what this machine has, what is missing, and what that would enable."""

from __future__ import annotations

import sys

import click

from legion import __version__, api
from legion.cli import options
from legion.cli.json_output import print_json


@click.command()
@options.as_json
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this machine: what is installed, what is missing, and what that would enable.

    Exit code 1 if something that Legion cannot work without is missing, else 0.
    """
    found = api.doctor.doctor()
    if as_json:
        print_json(found)
    elif sys.stdout.isatty():
        _table(found)
    else:
        _lines(found)
    if not found.ok:
        ctx.exit(1)


def _lines(found: api.doctor.Diagnosis) -> None:
    width = max(len(check.name) for check in found.checks)
    for check in found.checks:
        click.echo(f"{check.state:<8}{check.name:<{width}}  {check.detail}{_advice(check)}")


def _advice(check: api.doctor.Check) -> str:
    if check.state == "ok":
        return ""
    return f"; for {check.enables}: {check.remedy}"


def _table(found: api.doctor.Diagnosis) -> None:
    # rich takes 60 ms to import; only a terminal needs it.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    colours = {"ok": "green", "warn": "yellow", "missing": "red"}
    table = Table(title=f"Legion {__version__}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in found.checks:
        # Text, not markup: a path or an address may hold square brackets.
        state = Text(check.state, style=colours[check.state])
        detail = Text(check.detail)
        if check.state != "ok":
            detail.append(f"\nfor {check.enables}:\n")
            detail.append(check.remedy, style="bold")
        table.add_row(state, Text(check.name), detail)
    Console().print(table)
