"""Proofs as text for a terminal and as docs/reliability.md."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence

from demands import Section, Table

_HEAD = """\
# Reliability

Written by `make reliability`, which carries out each proof on real parts (PostgreSQL, an S3 server over HTTP, MLflow's
server, gateways and workers as processes) on one machine over loopback, and ends with 1 when a demand is missed.
"""
_HOW = """\
## Proving it again

    make reliability                                          # everything, about an hour
    python bench/reliability/run.py --only swaps --write      # one proof, renewed on this page
    python bench/reliability/run.py --only swaps --quick      # in its short form, which writes nothing

PostgreSQL must be installed (`apt install postgresql`); the S3 server, rclone, comes with the Python packages for
development. The memory figures need Linux.
"""


def text(section: Section) -> str:
    """One proof for a terminal."""
    blocks = [_aligned(table) for table in (_demands(section), *section.tables)]
    return "\n".join([f"{section.title}: {'met' if section.met else 'MISSED'}", *blocks])


def markdown(sections: Sequence[Section], machine: dict[str, str], day: datetime.date) -> str:
    """The whole page."""
    listed = Table(("", ""), tuple(machine.items()))
    return "\n".join(
        [
            _HEAD,
            verdict(sections)[:1].upper() + verdict(sections)[1:] + ".\n",
            *map(_section, sections),
            f"## The machine\n\nMeasured on {day.isoformat()}.\n\n{_marked(listed)}\n",
            _HOW,
        ]
    )


def renewed(page: str, sections: Iterable[Section], day: datetime.date) -> str:
    """The page with these proofs in place of what it said of them; one that it did not have comes last."""
    head, *blocks = re.split(r"(?m)^(?=## )", page)
    known = {block.partition("\n")[0].removeprefix("## "): block for block in blocks}
    ends = {title: known.pop(title) for title in ("The machine", "Proving it again")}
    for section in sections:
        known[section.title] = f"{_section(section)}\nMeasured again on {day.isoformat()}.\n\n"
    rows = [(title, row) for title, block in known.items() for row in re.findall(r"(?m)^\| (.*) \|$", block)]
    judged = [(title, *re.split(r"(?<!\\\\) \| ", row)) for title, row in rows if row.endswith(("| met", "| missed"))]
    missed = [f"{title}: {what}" for title, what, *_, verdict in judged if verdict == "missed"]
    said = _said(len(judged), missed)
    head = re.sub(r"(?m)^\d+ of \d+ demands are met.*$", lambda _: f"{said[:1].upper()}{said[1:]}.", head)
    return head + "".join([*known.values(), *ends.values()])


def verdict(sections: Iterable[Section]) -> str:
    """How many demands are met, and which are not."""
    demands = [(section, demand) for section in sections for demand in section.demands]
    missed = [f"{section.title}: {demand.what}" for section, demand in demands if not demand.met]
    return _said(len(demands), missed)


def _said(count: int, missed: Sequence[str]) -> str:
    said = f"{count - len(missed)} of {count} demands are met"
    return f"{said}; missed: {', '.join(missed)}" if missed else said


def _section(section: Section) -> str:
    parts = [f"## {section.title}", *map(_marked, (_demands(section), *section.tables)), *section.how]
    return "\n\n".join(parts) + "\n"


def _demands(section: Section) -> Table:
    rows = tuple(
        (demand.what, demand.wanted, demand.measured, "met" if demand.met else "missed") for demand in section.demands
    )
    return Table(("demand", "wanted", "measured", ""), rows)


def _marked(table: Table) -> str:
    lines = [_line(table.header), _line(["---"] + ["---:"] * (len(table.header) - 1))]
    return "\n".join(lines + [_line(row) for row in table.rows])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _aligned(table: Table) -> str:
    rows = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
