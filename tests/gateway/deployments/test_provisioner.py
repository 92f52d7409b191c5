"""The process that brings models: away from the gateway, replaced when it ends, never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import command_of, wait_until

pytestmark = pytest.mark.slow

SOURCE = """
    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[sum(row)] for row in input_matrix.tolist()]
"""


def provisioners(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"legion.provision" in command_of(child)]


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def events(process, count):
    return [json.loads(process.stdout.readline()) for _ in range(count)]


@pytest.fixture
def provisioner(tmp_path, environment):
    command = [sys.executable, "-m", "legion.provision", str(tmp_path / "cache")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    yield process
    process.stdin.close()
    process.wait(10)


def send(process, **request):
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()


def test_it_brings_a_folder_and_refuses_what_is_none(provisioner, gppi_folder):
    folder = gppi_folder(SOURCE)
    send(provisioner, type="order", id=1, model=str(folder), env="local")
    found = events(provisioner, 1)[0]
    while found["type"] == "progress":
        found = events(provisioner, 1)[0]
    assert (found["type"], found["id"], found["plan"]["name"]) == ("delivery", 1, "probe")
    assert Path(found["python"]).exists()
    send(provisioner, type="order", id=2, model="/nowhere", env="local")
    failure = events(provisioner, 1)[0]
    assert (failure["type"], failure["id"], failure["kind"]) == ("failure", 2, "usage")


def test_a_changed_folder_is_another_version(provisioner, gppi_folder):
    folder = gppi_folder(SOURCE)
    keys = []
    for number in range(3):
        send(provisioner, type="order", id=number, model=str(folder), env="local")
        found = events(provisioner, 1)[0]
        while found["type"] == "progress":
            found = events(provisioner, 1)[0]
        keys.append(found["key"])
        if number == 1:
            os.utime(folder / "entrypoint.py", (10**9 * 3, 10**9 * 3))
    assert keys[0] == keys[1] != keys[2]


def test_it_ends_with_its_input(provisioner):
    provisioner.stdin.close()
    provisioner.wait(10)


@pytest.fixture
def gateway(start_server, gppi_folder, environment, tmp_path):
    file = tmp_path / "probe.yaml"
    file.write_text(f"name: probe\nmodel: {gppi_folder(SOURCE)}\nworkers: {{env: local}}\n")
    return start_server(file)


def test_it_is_started_again_and_the_model_goes_on(gateway):
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


def test_a_killed_gateway_leaves_none(gateway):
    left = provisioners(gateway.process.pid) + gateway.workers()
    assert len(left) == 2
    gateway.process.kill()
    gateway.process.wait()
    wait_until(lambda: all(gone(pid) for pid in left))


def test_the_gateway_never_loads_what_the_provisioner_does(gateway):
    """Neither numpy nor mlflow is mapped into the gateway's process."""
    maps = Path(f"/proc/{gateway.process.pid}/maps").read_text()
    assert "msgspec" in maps
    assert "numpy" not in maps
    assert "pandas" not in maps
