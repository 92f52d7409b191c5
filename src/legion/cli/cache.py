"""`legion cache`: what is kept on this machine, and making room."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from legion.cli import settings
from legion.cli.progress import say
from legion.cli.tables import show_line, show_table
from legion.disk import prune as pruning
from legion.disk.prune import Entry
from legion.disk.sizes import shown, size_from
from legion.errors import UsageError

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_NAME = 12


@click.group(invoke_without_command=True)
@click.pass_context
def cache(context: click.Context) -> None:
    """Show what the cache holds, or remove what was not used for longest.

    LEGION_CACHE says where it is, LEGION_CACHE_SIZE how much it may take (20GiB if left out).
    """
    if context.invoked_subcommand is None:
        context.invoke(show)


@cache.command()
@_JSON
def show(as_json: bool = False) -> None:
    """List what the cache holds, with size, last use, and whether something uses it now."""
    place, size = settings.cache_folder(), settings.cache_size()
    found = pruning.entries(place, probe=True)
    counted = sum(entry.size for entry in found if entry.counted)
    if as_json:
        document = {"cache": str(place), "limit": size, "counted": counted, "entries": list(map(_data, found))}
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return
    show_line(f"{place}: {shown(counted)} of {shown(size)}")
    if found:
        show_table(("KIND", "NAME", "SIZE", "LAST USE", "IN USE", "WHAT"), list(map(_row, reversed(found))))
    if any(not entry.counted for entry in found):
        show_line("not counted, and pruned with --downloads only: what stands in brackets")


@cache.command()
@click.option("--to", "size", metavar="SIZE", help="Until it takes no more than this; LEGION_CACHE_SIZE if left out.")
@click.option("--all", "everything", is_flag=True, help="Remove all that nothing uses.")
@click.option("--downloads", is_flag=True, help="The packages that were downloaded for conda environments, too.")
@_JSON
def prune(size: str | None, everything: bool, downloads: bool, as_json: bool) -> None:
    """Remove what was not used for longest until the cache is small enough; what is in use stays."""
    if everything and size is not None:
        raise UsageError("--all and --to exclude each other; give one of them")
    place = settings.cache_folder()
    limit = 0 if everything else settings.cache_size() if size is None else size_from(size)

    def on_removed(entry: Entry) -> None:
        say(f"removed {' '.join(filter(None, (entry.kind, entry.name[:_NAME], entry.what)))} ({shown(entry.size)})")

    done = pruning.prune(place, limit, uncounted=downloads, on_removed=on_removed)
    if as_json:
        document = {"removed": list(map(_data, done.removed)), "freed": done.freed, "left": done.left, "limit": limit}
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return
    show_line(f"{shown(done.freed)} freed, {shown(done.left)} left")
    if done.left > limit:
        show_line("what is left is in use, or was used just now")


def _data(entry: Entry) -> dict[str, Any]:
    return {**msgspec.structs.asdict(entry), "path": str(entry.path)}


def _row(entry: Entry) -> tuple[str, ...]:
    size = shown(entry.size) if entry.counted else f"[{shown(entry.size)}]"
    return entry.kind, entry.name[:_NAME], size, _ago(entry.used), "yes" if entry.in_use else "no", entry.what


def _ago(moment: datetime) -> str:
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
