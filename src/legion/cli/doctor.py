"""`legion doctor`: what is there, what is missing, what each missing thing would enable."""

from __future__ import annotations

import os
import sys

import click
import msgspec

from legion import __version__
from legion.cli.settings import cache_folder
from legion.environment import doctor_checks
from legion.environment.doctor_checks import Check


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Show what is there, what is missing and what it would enable.

    Exit code 0 unless something that Legion cannot work without is missing, then 1.
    """
    found = _checks()
    whole = not any(check.necessary and check.state == "missing" for check in found)
    if as_json:
        report = {"legion": __version__, "ok": whole, "checks": found}
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    elif sys.stdout.isatty():
        _table(found)
    else:
        _lines(found)
    if not whole:
        ctx.exit(1)


def _checks() -> list[Check]:
    cache = cache_folder()
    return [
        doctor_checks.python(),
        doctor_checks.uv(),
        doctor_checks.cache(cache),
        doctor_checks.disk(cache),
        doctor_checks.descriptors(),
        doctor_checks.package_index(
            os.environ.get("PIP_INDEX_URL"),
            os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL"),
        ),
        doctor_checks.package("mlflow", "mlflow", "train, pack, register, and models:/ and runs:/ references"),
        doctor_checks.tracking(os.environ.get("MLFLOW_TRACKING_URI")),
        doctor_checks.package("boto3", "team", "artifacts in an S3-compatible store"),
        doctor_checks.package(
            "psycopg2", "team", "a PostgreSQL registry (legion up)", distributions=("psycopg2-binary", "psycopg2")
        ),
        doctor_checks.package("pyarrow", "arrow", "predict from and to Parquet and Arrow files"),
        doctor_checks.package("py-rattler", "conda", "environments of conda packages (--env conda)"),
        doctor_checks.program("git", ("git",), ("git", "git"), "train from a git address"),
        doctor_checks.java(os.environ.get("JAVA_HOME")),
        doctor_checks.program(
            "containers", ("docker", "podman"), ("podman", "podman"), "models and projects that name an image"
        ),
    ]


def _lines(found: list[Check]) -> None:
    width = max(len(check.name) for check in found)
    for check in found:
        click.echo(f"{check.state:<8}{check.name:<{width}}  {check.detail}{_advice(check)}")


def _advice(check: Check) -> str:
    if check.state == "ok":
        return ""
    return f"; for {check.enables}: {check.remedy}"


def _table(found: list[Check]) -> None:
    # rich takes 60 ms to import; only a terminal needs it.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    colours = {"ok": "green", "warn": "yellow", "missing": "red"}
    table = Table(title=f"Legion {__version__}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in found:
        # Text, not markup: a path or an address may hold square brackets.
        state = Text(check.state, style=colours[check.state])
        detail = Text(check.detail)
        if check.state != "ok":
            detail.append(f"\nfor {check.enables}:\n")
            detail.append(check.remedy, style="bold")
        table.add_row(state, Text(check.name), detail)
    Console().print(table)
