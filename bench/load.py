"""Load by wrk: one request again and again over so many connections, for so many seconds."""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

INSTALL = "apt install wrk (Debian, Ubuntu) or brew install wrk (macOS)"
SCRIPT = Path(__file__).with_name("load.lua")
# Seconds. wrk counts an answer that takes longer as failed; a slow server is to be measured, not voided.
TIMEOUT = 30


class Sample(msgspec.Struct, frozen=True):
    """One run of wrk: requests answered, its length, median latency in µs, and what was no 2xx answer."""

    requests: int
    microseconds: int
    p50: float
    failed: int


class Target(msgspec.Struct, frozen=True):
    """Where to send which body: `body` is a file."""

    url: str
    body: Path


class Rate(msgspec.Struct, frozen=True):
    """Medians over the rounds; both None when any request of any round failed, which `failed` counts."""

    per_second: float | None
    p50_ms: float | None
    failed: int = 0


def wrk() -> str:
    """The path of wrk; ends the run with the line that installs it where there is none."""
    found = shutil.which("wrk")
    if found is None:
        sys.exit(f"the load generator wrk is not installed; run {INSTALL}")
    return found


def once(target: Target, connections: int, seconds: int) -> Sample:
    """Load `target` once. One thread of wrk, because the servers need the other cores."""
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT}s", "-s", str(SCRIPT)]
    command = [wrk(), *options, target.url, "--", str(target.body)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 2 * TIMEOUT)
    return parse(done.stdout, done.stderr)


def parse(output: str, errors: str = "") -> Sample:
    """The line that load.lua wrote. Ends the run where wrk gave none."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"wrk measured nothing: {(errors or output).strip()[:200]}")
    return msgspec.json.decode(lines[-1], type=Sample)


def rounds(targets: dict[str, Target], connections: int, *, count: int, seconds: int) -> dict[str, Rate]:
    """The medians of `count` rounds of load on every target."""
    found = samples(targets, connections, count=count, seconds=seconds)
    return {name: median(of_one) for name, of_one in found.items()}


def samples(targets: dict[str, Target], connections: int, *, count: int, seconds: int) -> dict[str, list[Sample]]:
    """Load every target `count` times, in turn, so that a slow moment of the machine meets all.

    Each turn has an order of its own, so that nobody always comes behind the same other.
    """
    found: dict[str, list[Sample]] = {name: [] for name in targets}
    turn, order = list(targets.items()), random.Random(1)
    for _ in range(count):
        order.shuffle(turn)
        for name, target in turn:
            found[name].append(once(target, connections, seconds))
            settle(target)
    return found


def settle(target: Target) -> None:
    """Wait until one more request is answered: a server that still works off what wrk left behind would disturb
    the next one's turn.
    """
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(target.url, target.body.read_bytes(), headers)
    # Whatever the answer is: a failure shows in the samples.
    with suppress(OSError), urllib.request.urlopen(request, timeout=2 * TIMEOUT) as answer:
        answer.read()


def median(samples: Sequence[Sample]) -> Rate:
    """The rounds' medians; void when anything failed or nothing was answered."""
    failed = sum(sample.failed for sample in samples)
    if failed or not all(sample.requests for sample in samples):
        return Rate(None, None, failed)
    rate = statistics.median(sample.requests / sample.microseconds * 1e6 for sample in samples)
    return Rate(rate, statistics.median(sample.p50 for sample in samples) / 1e3)
