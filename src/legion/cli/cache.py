"""`legion cache`: what is cached on this machine, and freeing space."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from legion import api
from legion.api.sizes import shown
from legion.cli import options
from legion.cli.json_output import print_json
from legion.cli.progress import TERMINAL
from legion.cli.tables import show_line, show_table

_NAME = 12


@click.group(invoke_without_command=True)
@click.pass_context
def cache(context: click.Context) -> None:
    """Show what is in the cache, or remove the longest unused entries.

    LEGION_CACHE sets the folder, LEGION_CACHE_SIZE the maximum size (default 20GiB).
    """
    if context.invoked_subcommand is None:
        context.invoke(show)


@cache.command()
@options.as_json
def show(as_json: bool = False) -> None:
    """List the entries, with size, last use, and whether they are in use now."""
    found = api.cache.show()
    if as_json:
        print_json(found)
        return
    show_line(f"{found.cache}: {shown(found.counted)} of {shown(found.limit)}")
    if found.entries:
        show_table(("KIND", "NAME", "SIZE", "LAST USE", "IN USE", "WHAT"), list(map(_row, reversed(found.entries))))
    if any(not entry.counted for entry in found.entries):
        show_line("sizes in brackets are not counted, and pruned with --downloads only")


@cache.command()
@click.option("--to", metavar="SIZE", help="Shrink the cache to this size. Default: LEGION_CACHE_SIZE.")
@click.option("--all", "everything", is_flag=True, help="Remove everything that is not in use.")
@click.option("--downloads", is_flag=True, help="Also remove packages downloaded for conda environments.")
@options.as_json
def prune(as_json: bool, **given: Any) -> None:
    """Remove the longest unused entries until the cache is small enough. Entries in use stay."""
    done = api.cache.prune(**given, progress=TERMINAL)
    if as_json:
        print_json(done)
        return
    show_line(f"{shown(done.freed)} freed, {shown(done.left)} left")
    if done.left > done.limit:
        show_line("what is left is in use, or was used just now")


def _row(entry: api.cache.Entry) -> tuple[str, ...]:
    size = shown(entry.size) if entry.counted else f"[{shown(entry.size)}]"
    return entry.kind, entry.name[:_NAME], size, _ago(entry.used), "yes" if entry.in_use else "no", entry.what


def _ago(moment: datetime) -> str:
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
