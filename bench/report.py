"""Sections of figures as a table for the terminal and as docs/benchmarks.md."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Sequence

from baseline import Fall
from figures import Figure, Section

_HEAD = """\
# Benchmarks

Written by `make bench`, which measures Legion beside the real `mlflow models serve`, MLServer, a hand-written FastAPI +
pydantic server, and an echo server without a model (the limit of the same HTTP stack), all in one run on one machine.

Every ratio is turned so that more is better. The load generator (wrk) shares the machine with the servers. The
servers run side by side and are loaded in turns, several rounds each; a figure is the median of its rounds. Before
any load, all of them must give the same answer to the same request; a figure with any answer but 2xx is void.
"""
_HOW = """\
## Measuring again

    make bench                                  # everything, about twenty minutes; needs wrk
    python bench/run.py --only wine --quick     # one part; a smoke run, whose figures mean little
    python bench/run.py --accept                # make these ratios the ones that later runs are held against
    make bench AGAINST=main                     # the gateway of this tree beside that of another revision, in turns

A run ends with 1 when a ratio fell by more than 15 % below `bench/baseline.json`. With `AGAINST` it ends with 1 when
this tree's gateway has less than 0.98 of the other's speed (`FLOOR=0.95` for another limit); each ratio is printed
with its 95 % confidence interval.
"""


def text(section: Section) -> str:
    """One section for a terminal: aligned columns under the title, its notes below."""
    rows = [_header(section), *(_row(section, figure) for figure in section.figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [section.title]
    for row in rows:
        what, *cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  " + "  ".join([what.strip().ljust(widths[0]), *cells]).rstrip())
    return "\n".join([*lines, *(f"  {note}" for note in section.notes)])


def markdown(sections: Sequence[Section], machine: dict[str, str], day: datetime.date) -> str:
    """The whole page."""
    parts = [_HEAD, *(_section(section) for section in sections)]
    listed = "\n".join(f"| {name} | {_cell(value)} |" for name, value in machine.items())
    parts.append(f"## The machine\n\nMeasured on {day.isoformat()}.\n\n| | |\n|---|---|\n{listed}\n")
    parts.append(_HOW)
    return "\n".join(parts)


def verdict(sections: Iterable[Section]) -> str:
    """How many targets are met, and which are not."""
    figures = [figure for section in sections for figure in section.figures if figure.target is not None]
    missed = [figure.key for figure in figures if not figure.met]
    said = f"{len(figures) - len(missed)} of {len(figures)} targets are met"
    return f"{said}; missed: {', '.join(missed)}" if missed else said


def fell(found: Sequence[Fall], accepted_on: dict[str, str], machine: dict[str, str]) -> str:
    """The ratios that are worse than accepted, one line each, and whether the machine is another one."""
    lines = ["slower than accepted:"]
    for fall in found:
        now = "void" if fall.now is None else _number(fall.now)
        lines.append(f"  {fall.key}: {now}, accepted {_number(fall.accepted)}")
    other = [name for name in ("CPU", "cores") if accepted_on.get(name) != machine.get(name)]
    if other:
        was = ", ".join(f"{name} {accepted_on.get(name, 'unknown')}" for name in other)
        lines.append(f"  accepted on another machine ({was}); --accept takes the ratios of this one")
    return "\n".join(lines)


def _section(section: Section) -> str:
    header = _header(section)
    lines = [f"## {section.title}", "", _line(header), _line(["---"] + ["---:"] * (len(header) - 1))]
    lines += [_line(_row(section, figure)) for figure in section.figures]
    for note in section.notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(value: str) -> str:
    return value.replace("|", "\\|")


def _header(section: Section) -> list[str]:
    return ["", *section.columns, "ratio", "target", "met"]


def _row(section: Section, figure: Figure) -> list[str]:
    values = [
        _value(figure.values[column], figure.unit) if column in figure.values else "" for column in section.columns
    ]
    what = f"{figure.what} ({figure.means})" if figure.means else figure.what
    wanted = "" if figure.target is None else f"≥ {_number(figure.target)}"
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    measured = "void" if figure.ratio is None and figure.target is not None else ""
    ratio = measured if figure.ratio is None else _number(figure.ratio)
    return [what, *values, ratio, wanted, met]


def _value(value: float | None, unit: str) -> str:
    return "void" if value is None else f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
