"""A provisioner that brings one version after the other keeps the cache under its bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import legion, wait_until
from legion.disk.prune import entries
from legion.disk.sizes import size_of
from probe_models import SUM

pytestmark = pytest.mark.slow

# Without the time that a gateway is given to take over what was delivered.
PROVISIONER = """
import sys
from legion.provision import __main__, housekeeping
housekeeping._HANDOVER = float(sys.argv[2])
__main__.main(sys.argv[1:2])
"""
_VERSION = 300_000


class Provisioner:
    def __init__(self, cache: Path, environment: dict[str, str], handover: float, log: Path) -> None:
        self.cache = cache
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROVISIONER, str(cache), str(handover)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                env=environment,
                start_new_session=True,
            )

    def bring(self, number: int, artifact: Path) -> Path:
        order = {"type": "order", "id": number, "model": str(artifact), "env": "local"}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        while (event := json.loads(self.process.stdout.readline()))["type"] in ("bringing", "progress"):
            pass
        assert event["type"] == "delivery", event
        return Path(event["plan"]["folder"])

    def stop(self) -> None:
        self.process.communicate(timeout=10)


@pytest.fixture
def started(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Provisioner]]:
    made: list[Provisioner] = []

    def start(size: str, handover: float = 0.0) -> Provisioner:
        log = tmp_path / "log.txt"
        made.append(Provisioner(tmp_path / "cache", {**environment, "LEGION_CACHE_SIZE": size}, handover, log))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def artifact(tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]) -> Callable[[], Path]:
    source = gppi_folder(SUM)
    out = tmp_path / "model.zip"

    def make() -> Path:
        (source / "weights.bin").write_bytes(os.urandom(_VERSION))
        done = legion("pack", source, "-o", out, env=environment)
        assert done.returncode == 0, done.stderr
        return out

    return make


def test_fifty_versions_take_no_more_than_the_bound(
    started: Callable[..., Provisioner], artifact: Callable[[], Path], tmp_path: Path
) -> None:
    provisioner = started("1MB")
    taken = []
    for number in range(50):
        folder = provisioner.bring(number, artifact())
        wait_until(lambda: size_of(tmp_path / "cache") <= 1_000_000 + 5000)
        assert (folder / "weights.bin").is_file()
        taken.append(len(list((tmp_path / "cache" / "in-use").iterdir())))
    assert max(taken) <= 5
    assert size_of(tmp_path / "cache") > 2 * _VERSION


def test_what_was_just_delivered_is_held_for_whoever_asked(
    started: Callable[..., Provisioner], artifact: Callable[[], Path], tmp_path: Path
) -> None:
    provisioner = started("0", handover=2.0)
    folder = provisioner.bring(1, artifact())
    assert [entry.in_use for entry in entries(tmp_path / "cache", probe=True)] == [True]
    time.sleep(1)
    assert folder.is_dir()
    # And goes by itself, with no further delivery.
    wait_until(lambda: not folder.exists())


def test_a_size_that_cannot_be_read_fails_no_delivery(
    started: Callable[..., Provisioner], artifact: Callable[[], Path], tmp_path: Path
) -> None:
    provisioner = started("plenty")
    assert provisioner.bring(1, artifact()).is_dir()
    assert "LEGION_CACHE_SIZE: 'plenty' is no size" in (tmp_path / "log.txt").read_text()
