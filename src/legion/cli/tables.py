"""Tables: drawn on a terminal, plain aligned columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of texts below their column names; an empty cell is a dash where it would be a gap for tools."""
    if sys.stdout.isatty():
        _draw(head, rows)
        return
    lines = [head, *([printable(cell) or "-" for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """Text from elsewhere without what a terminal would act on."""
    return "".join(char for char in text if char.isprintable())


def _draw(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # rich takes 60 ms to import; only a terminal needs it.
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)


def show_line(text: str) -> None:
    """Print a line of text from elsewhere; on a terminal it is wrapped between words."""
    if not sys.stdout.isatty():
        click.echo(printable(text))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    Console().print(Text(printable(text)))
