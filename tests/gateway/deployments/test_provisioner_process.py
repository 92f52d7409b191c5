"""The provisioner beside a gateway: replaced when it ends, never left behind; and any process in its place."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Server, command_of, wait_until
from legion.gateway.deployments.provisioner_process import ProvisionerProcess
from legion.provisioning_messages import MAX_LINE

SOURCE = """
    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[sum(row)] for row in input_matrix.tolist()]
"""


def provisioners(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"legion.provision" in command_of(child)]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def lived(script: str, *lines: bytes) -> tuple[list[bytes], int]:
    """What a process of this script wrote after these lines, and its exit code."""
    process = await ProvisionerProcess.run(sys.executable, "-c", script)
    for line in lines:
        process.send(line)
    try:
        return [line async for line in process], await process.wait()
    finally:
        process.kill()


def test_lines_come_one_by_one_and_a_long_one_is_cut() -> None:
    size = MAX_LINE + 1
    script = (
        f"print('a'); print(); print('b' * {MAX_LINE}); print('c' * {3 * MAX_LINE}); print('d'); print('cut', end='')"
    )
    found, code = asyncio.run(lived(script))
    assert [(line[:3], len(line)) for line in found] == [
        (b"a", 1),
        (b"", 0),
        (b"bbb", MAX_LINE),
        (b"ccc", size),
        (b"d", 1),
    ]
    assert code == 0


def test_what_is_sent_arrives_in_order() -> None:
    found, _ = asyncio.run(lived("print(input() + input())", b"one\n", b"two\n"))
    assert found == [b"onetwo"]


def test_a_process_that_reads_nothing_is_ended() -> None:
    _, code = asyncio.run(lived("import time; time.sleep(600)", *[b"x" * 2**20 + b"\n"] * 12))
    assert code == -signal.SIGKILL


def test_what_it_started_ends_with_it() -> None:
    script = """if True:
        import subprocess, sys, time
        print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
        time.sleep(600)
    """

    async def killed() -> tuple[int, int]:
        process = await ProvisionerProcess.run(sys.executable, "-c", script)
        child = int(await anext(aiter(process)))
        assert not gone(child)
        process.kill()
        return child, await process.wait()

    child, code = asyncio.run(killed())
    assert code == -signal.SIGKILL
    wait_until(lambda: gone(child))


@pytest.fixture
def gateway(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path], environment: dict[str, str], tmp_path: Path
) -> Server:
    file = tmp_path / "probe.yaml"
    file.write_text(f"name: probe\nmodel: {gppi_folder(SOURCE)}\nworkers: {{env: local}}\n")
    return start_server(file)


@pytest.mark.slow
def test_it_is_started_again_and_the_model_goes_on(gateway: Server) -> None:
    row = {"dataframe_split": {"columns": ["a"], "data": [[2.0]]}}
    first = provisioners(gateway.process.pid)
    assert len(first) == 1
    os.kill(first[0], signal.SIGKILL)
    assert gateway.post("/invocations", row).status_code == 200
    wait_until(lambda: provisioners(gateway.process.pid) not in ([], first))
    assert gateway.post("/invocations", row).status_code == 200
    second = provisioners(gateway.process.pid)
    assert gateway.stop() == 0
    assert all(gone(pid) for pid in second)


@pytest.mark.slow
def test_a_killed_gateway_leaves_none(gateway: Server) -> None:
    left = provisioners(gateway.process.pid) + gateway.workers()
    assert len(left) == 2
    gateway.process.kill()
    gateway.process.wait()
    wait_until(lambda: all(gone(pid) for pid in left))


@pytest.mark.slow
def test_the_gateway_never_loads_what_the_provisioner_does(gateway: Server) -> None:
    """Neither numpy nor mlflow is mapped into the gateway's process."""
    maps = Path(f"/proc/{gateway.process.pid}/maps").read_text()
    assert "msgspec" in maps
    assert "numpy" not in maps
    assert "pandas" not in maps
