"""`make reliability`: carry out every proof, print what was found, write docs/reliability.md.

Exit code 1 when a demand is missed or a proof could not be carried through, 3 when a part that it stands on is not
installed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

# The machine and the kernel's tables as the benchmarks read them, the real parts as the tests start them.
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "bench"))

import broken
import budget
import goodput
import kills
import leaving
import lies
import machine
import outages
import page
import provisioning
import registrations
import silence
import swaps
from demands import Demand, Failed, Section
from scale import FULL, QUICK, Scale

from legion.disk.durable import new_file
from real_parts import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
# In the order of the page.
PROOFS: dict[str, Callable[[Scale], Section]] = {
    "registrations": registrations.prove,
    "swaps": swaps.prove,
    "broken": broken.prove,
    "outages": outages.prove,
    "kills": kills.prove,
    "goodput": goodput.prove,
    "leaving": leaving.prove,
    "silence": silence.prove,
    "memory": budget.prove,
    "lies": lies.prove,
    "provisioner": provisioning.prove,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Prove that Legion holds under load and faults.")
    parser.add_argument("--only", action="append", choices=PROOFS, metavar="NAME", help=f"one of {', '.join(PROOFS)}")
    parser.add_argument("--quick", action="store_true", help="the short form of each proof; nothing is written")
    parser.add_argument("--write", action="store_true", help="with --only: renew these proofs on the page")
    options = parser.parse_args()
    if options.write and (options.quick or not options.only):
        parser.error("--write renews single proofs in full; give --only, and leave out --quick")
    return options


def main() -> int:
    """Carry out what is asked for, show it, keep it."""
    options = arguments()
    # MLflow's own defaults wait for minutes on a server that is away, as some are here.
    os.environ.update(MLFLOW_HTTP_REQUEST_MAX_RETRIES="2", MLFLOW_HTTP_REQUEST_TIMEOUT="30")
    sections = []
    for name in options.only or PROOFS:
        began = time.monotonic()
        section = carried_out(name, QUICK if options.quick else FULL)
        print(f"{page.text(section)}\n  {time.monotonic() - began:.0f} s\n", flush=True)
        sections.append(section)
    print(page.verdict(sections))
    today = datetime.datetime.now(datetime.UTC).date()
    if options.write or not (options.quick or options.only):
        if options.write:
            written = page.renewed(PAGE.read_text(), sections, today)
        else:
            written = page.markdown(sections, machine.describe(), today)
        with new_file(PAGE) as file:
            file.write(written.encode())
        print(f"written to {PAGE.relative_to(ROOT)}")
    return 0 if all(section.met for section in sections) else 1


def carried_out(name: str, scale: Scale) -> Section:
    """The proof's section; one whose only demand is missed where it could not be carried through."""
    try:
        return PROOFS[name](scale)
    except Failed as failure:
        return Section(name, (Demand("carried through", "yes", str(failure), met=False),))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except pytest.skip.Exception as missing:
        print(missing, file=sys.stderr)
        sys.exit(3)
