"""The provisioner as a process: orders in, events out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probe_models import SUM

pytestmark = pytest.mark.slow


def events(process: subprocess.Popen[bytes], count: int) -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(count)]


@pytest.fixture
def provisioner(tmp_path: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "legion.provision", str(tmp_path / "cache")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, start_new_session=True) as process:
        yield process


def send(process: subprocess.Popen[bytes], **request: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()


def test_it_brings_a_folder_and_refuses_what_is_none(
    provisioner: subprocess.Popen[bytes], gppi_folder: Callable[..., Path]
) -> None:
    folder = gppi_folder(SUM)
    send(provisioner, type="order", id=1, model=str(folder), env="local")
    found = events(provisioner, 1)[0]
    while found["type"] in ("bringing", "progress"):
        found = events(provisioner, 1)[0]
    assert (found["type"], found["id"], found["plan"]["name"]) == ("delivery", 1, "probe")
    assert Path(found["python"]).exists()
    send(provisioner, type="order", id=2, model="/nowhere", env="local")
    failure = events(provisioner, 2)[1]
    assert (failure["type"], failure["id"], failure["kind"]) == ("failure", 2, "usage")


def test_a_changed_folder_is_another_version(
    provisioner: subprocess.Popen[bytes], gppi_folder: Callable[..., Path]
) -> None:
    folder = gppi_folder(SUM)
    keys = []
    for number in range(3):
        send(provisioner, type="order", id=number, model=str(folder), env="local")
        found = events(provisioner, 1)[0]
        while found["type"] in ("bringing", "progress"):
            found = events(provisioner, 1)[0]
        keys.append(found["key"])
        if number == 1:
            os.utime(folder / "entrypoint.py", (10**9 * 3, 10**9 * 3))
    assert keys[0] == keys[1] != keys[2]


def test_a_request_that_cannot_be_read_costs_no_other(provisioner: subprocess.Popen[bytes]) -> None:
    assert provisioner.stdin is not None
    for line in (b"", b"{}", b"\xff\xfe", b'{"type":"order","id":"x","model":1}', b"[" * 100_000):
        provisioner.stdin.write(line + b"\n")
    send(provisioner, type="order", id=2, model="/nowhere", env="local")
    assert events(provisioner, 2)[-1]["type"] == "failure"


def test_it_ends_with_its_input(provisioner: subprocess.Popen[bytes]) -> None:
    assert provisioner.stdin is not None
    provisioner.stdin.close()
    provisioner.wait(10)
