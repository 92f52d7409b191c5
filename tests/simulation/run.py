"""`make simulate [SEEDS=10000] [FROM=0]`: runs so many seeds on every core; a failing one is cut down and shown."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from scenario import Scenario, draw
from shrink import shrink
from world import simulate

_CHUNK = 50
_SHOWN = 5


def failing(seeds: Iterable[int]) -> list[int]:
    """Those of these seeds that fail."""
    # What was imported is no garbage. What a seed leaves is, and costs the next one time to look through.
    gc.freeze()
    gc.disable()
    try:
        return [seed for seed in seeds if _fails(seed)]
    finally:
        gc.enable()
        gc.unfreeze()


def _fails(seed: int) -> bool:
    violations = simulate(draw(seed))
    gc.collect()
    return bool(violations)


def shown(scenario: Scenario) -> str:
    """A failing scenario for people: what happens, and what does not hold."""
    smaller = shrink(scenario, lambda one: bool(simulate(one)))
    lines = [f"seed {scenario.seed} fails; {len(smaller.steps)} of its {len(scenario.steps)} steps do:"]
    lines += [f"  {one}" for one in smaller.deployments]
    lines += [f"  {step}" for step in smaller.steps]
    lines += [f"  → {violation}" for violation in simulate(smaller)[:8]]
    return "\n".join(lines)


def main(count: int, first: int) -> int:
    """Run them; the number of seeds that fail."""
    began = time.monotonic()
    chunks = [range(start, min(start + _CHUNK, first + count)) for start in range(first, first + count, _CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        bad = [seed for found in processes.map(failing, chunks) for seed in found]
    for seed in bad[:_SHOWN]:
        print(shown(draw(seed)))
    print(f"{count} seeds from {first} on, {len(bad)} fail, {time.monotonic() - began:.0f} s")
    return len(bad)


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), int(sys.argv[2]))))
