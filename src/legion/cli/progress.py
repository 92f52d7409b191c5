"""Long work on a screen: a bar on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from legion.logs import one_line

Advance = Callable[[int], None]


def say(line: str) -> None:
    """One plain line about what is going on."""
    click.echo(one_line(line), err=True)


@contextmanager
def bar(label: str, total: int | None, unit: str = "bytes") -> Iterator[Advance]:
    """Yield a function that advances the work by so many units; `total` None where it is not known."""
    if not sys.stderr.isatty():
        say(f"{label} …")
        yield lambda amount: None
        return
    # rich takes 60 ms to import; only a terminal needs it.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        task = progress.add_task(label, total=total)
        yield lambda amount: progress.advance(task, amount)
