"""`make bench AGAINST=REV`: the gateways of this working tree and of another revision, side by side under load.

    python bench/against.py REV [--floor 0.98] [--rounds 60]

Both run in this virtual environment, each from its own sources with its own cache, and serve the wine model as packed
by their own `legion pack`. They are loaded in turn, in an order that changes, for one second at a time. Exit code 1
when a ratio is below the floor.
"""

from __future__ import annotations

import argparse
import io
import signal
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path

import load
import models
import msgspec
import servers
from load import Sample, Target
from models import ROOT, WORK, environment
from paired import FEWEST, Ratio, ratio

FLOOR = 0.98
_ROUNDS = 60
_SECONDS = 1
_CONNECTIONS = (1, 32)
_LEGION = [sys.executable, "-m", "legion.cli.main"]
_WHICH = "import legion; print(legion.__file__)"


class Side(msgspec.Struct, frozen=True):
    """A revision: its sources and a folder for its cache and its artifact."""

    name: str
    source: Path
    home: Path

    @property
    def variables(self) -> dict[str, str]:
        """What makes a process run this side's code and keep its files apart from the other's."""
        return {"PYTHONPATH": str(self.source), "LEGION_CACHE": str(self.home / "cache")}


class Measure(msgspec.Struct, frozen=True):
    """One line of the result: how many times as fast this tree is as the revision; more is better."""

    what: str
    ratio: Ratio


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Load two revisions' gateways in turn and compare them.")
    parser.add_argument("revision", metavar="REV", help="what to compare with: a commit, a tag or a branch")
    parser.add_argument("--floor", type=float, default=FLOOR, help=f"the smallest ratio accepted ({FLOOR})")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"rounds of one second for each side ({_ROUNDS})")
    options = parser.parse_args()
    if options.rounds < FEWEST:
        parser.error(f"--rounds must be at least {FEWEST}")
    return options


def main() -> int:
    """Compare, print, and hold the ratios against the floor."""
    options = arguments()
    load.wrk()
    # Ending this program ends the servers and removes the folder, however it is asked to end.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="legion-against-") as scratch:
        folder = Path(scratch)
        export(options.revision, folder / "other", ROOT)
        found = compare(
            Side("this", ROOT / "src", folder / "this"),
            Side(options.revision, folder / "other" / "src", folder / "other"),
            options.rounds,
        )
    print(text(found, options.revision, options.floor))
    return 0 if all(one.ratio.estimate >= options.floor for one in found) else 1


def export(revision: str, into: Path, repository: Path) -> None:
    """The sources of a revision, as files; the repository is left as it is. Ends the run where there are none."""
    command = ["git", "-C", str(repository), "archive", "--format=tar", "--end-of-options", revision, "src"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{revision} cannot be compared with: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(into, filter="data")


def compare(this: Side, other: Side, rounds: int) -> list[Measure]:
    """Start both gateways, check that they answer alike, load them in turn."""
    wine = models.get("wine")
    with ExitStack() as stack:
        found = {}
        for side in (this, other):
            _check_sources(side)
            _compile(side)
            artifact = side.home / "wine.zip"
            side.home.mkdir(exist_ok=True)
            packing = ["pack", str(wine.folder), "--name", "wine", "--env", "local", "-o", str(artifact)]
            models.run(_LEGION + packing, **side.variables)
            port = servers.free_port()
            command = [*_LEGION, "serve", str(artifact), "--env", "local", "--port", str(port)]
            name = "against-this" if side is this else "against-other"
            server = stack.enter_context(servers.running(name, command, port, variables=side.variables))
            found[side.name] = msgspec.structs.replace(server, name=side.name)
        servers.check_alike(list(found.values()), wine.one)
        targets = {name: server.target(wine.one) for name, server in found.items()}
        return [one for connections in _CONNECTIONS for one in _measured(targets, connections, rounds)]


def _check_sources(side: Side) -> None:
    """End the run if this side would run other code than its own, which would compare a revision with itself."""
    command = [sys.executable, "-c", _WHICH]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment(**side.variables), cwd=WORK
    )
    if not Path(done.stdout.strip()).is_relative_to(side.source):
        sys.exit(f"{side.name} would run {done.stdout.strip()} and not the code in {side.source}")


def _compile(side: Side) -> None:
    models.run([sys.executable, "-m", "compileall", "-q", str(side.source)])


def _measured(targets: dict[str, Target], connections: int, rounds: int) -> list[Measure]:
    """Pair the rounds of both sides."""
    for target in targets.values():
        load.once(target, connections, _SECONDS)  # the first second warms both up
    samples = load.samples(targets, connections, count=rounds, seconds=_SECONDS)
    for name, found in samples.items():
        if not all(sample.requests and not sample.failed for sample in found):
            sys.exit(f"{name} did not answer every request with 2xx; nothing is compared")
    this, other = samples.values()
    pairs = list(zip(this, other, strict=True))
    what = f"{connections} connection{'s' if connections > 1 else ''}"
    measures = [Measure(f"{what}, rate", ratio([(_rate(ours), _rate(theirs)) for ours, theirs in pairs]))]
    if connections == 1:
        measures.append(Measure(f"{what}, p50", ratio([(theirs.p50, ours.p50) for ours, theirs in pairs])))
    return measures


def _rate(sample: Sample) -> float:
    return sample.requests / sample.microseconds


def text(found: list[Measure], revision: str, floor: float) -> str:
    """The result for a terminal."""
    width = max(len(one.what) for one in found)
    lines = [f"this working tree beside {revision}, wine model, one row (more is better; at least {floor:g} is wanted)"]
    for one in found:
        below = "" if one.ratio.estimate >= floor else "  BELOW"
        interval = f"95 % interval {one.ratio.low:.3f} to {one.ratio.high:.3f}"
        lines.append(f"  {one.what.ljust(width)}  {one.ratio.estimate:.3f}  {interval}{below}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
