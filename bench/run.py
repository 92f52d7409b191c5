"""`make bench`: measure everything in one run, print it as ratios, write docs/benchmarks.md.

Exit code 1 when a ratio fell well below the accepted one (bench/baseline.json), or when the run could not be finished.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable

import baseline
import commands
import convoy
import gateways
import interfaces
import load
import machine
import online
import open_inference
import report
from figures import Section
from models import ROOT, WORK
from pace import FULL, QUICK, Pace

from legion.disk.durable import new_file

PAGE = ROOT / "docs" / "benchmarks.md"
ACCEPTED = ROOT / "bench" / "baseline.json"
# In the order of the page.
PARTS: dict[str, Callable[[Pace], list[Section]]] = {
    "wine": online.wine,
    "wide": online.wide,
    "forest": online.forest,
    "open_inference": open_inference.open_inference,
    "java": interfaces.java,
    "objects": interfaces.objects,
    "convoy": convoy.convoy,
    "gateways": gateways.gateways,
    "start": commands.start,
    "predict": commands.predict,
    "pack": commands.pack,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure Legion beside mlflow and others.")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="NAME", help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a smoke run: short, small, nothing written or compared")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, default=None, help="docs/benchmarks.md")
    parser.add_argument("--accept", action="store_true", help="make this run's ratios the accepted ones")
    options = parser.parse_args()
    if options.quick and (options.write or options.accept):
        parser.error("a quick run's figures are not to be kept; leave out --quick")
    if options.only and options.write:
        parser.error("the page is of one whole run; leave out --only")
    if options.write is None:
        options.write = not (options.quick or options.only)
    return options


def main() -> int:
    """Measure what is asked for, show it, compare it, keep it."""
    options = arguments()
    load.wrk()
    WORK.mkdir(parents=True, exist_ok=True)
    sections = []
    for name in options.only or PARTS:
        for section in PARTS[name](QUICK if options.quick else FULL):
            print(report.text(section) + "\n", flush=True)
            sections.append(section)
    print(report.verdict(sections))
    if options.quick:
        return 0
    here = machine.describe()
    if options.write:
        with new_file(PAGE) as file:
            file.write(report.markdown(sections, here, datetime.datetime.now(datetime.UTC).date()).encode())
        print(f"written to {PAGE.relative_to(ROOT)}")
    return _compare(sections, here, accept=options.accept)


def _compare(sections: list[Section], here: dict[str, str], *, accept: bool) -> int:
    """Hold the ratios against the accepted ones, or make them those."""
    figures = [figure for section in sections for figure in section.figures]
    if accept:
        baseline.accept(ACCEPTED, figures, here)
        print(f"accepted into {ACCEPTED.relative_to(ROOT)}")
        return 0
    accepted = baseline.read(ACCEPTED)
    found = baseline.falls(accepted, figures)
    if accepted is None or not found:
        return 0
    print(report.fell(found, accepted.machine, here))
    return 1


if __name__ == "__main__":
    sys.exit(main())
