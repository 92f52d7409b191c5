"""Long work on a screen: a bar on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from legion.api.progress import Advance, Progress, one_line


def say(line: str) -> None:
    """One plain line about what is going on."""
    click.echo(one_line(line), err=True)


class TerminalProgress(Progress):
    """What the API tells about long work, for the person who waits for it."""

    def say(self, line: str) -> None:
        say(line)

    @contextmanager
    def bar(self, label: str, total: int | None, unit: str = "bytes") -> Iterator[Advance]:
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
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars  # noqa: PLC0415

        count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn(), TimeRemainingColumn())
        with Bars(*columns, console=Console(stderr=True), transient=False) as bars:
            task = bars.add_task(label, total=total)
            yield lambda amount: bars.advance(task, amount)


TERMINAL = TerminalProgress()
