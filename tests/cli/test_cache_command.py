"""`legion cache`: its lines and data, and that nothing takes away what a gateway or a batch is running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Server, command_of, legion

TOKEN = "a-token-for-tests"
SOURCE = """
    import pathlib

    # Read anew in each process, so that one whose folder is gone cannot start.
    ANSWER = float(pathlib.Path(__file__).with_name("answer.txt").read_text())

    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[ANSWER] for row in input_matrix.tolist()], ["v"]

    def get_info():
        return [{"name": "a", "type": "number"}], [{"name": "v", "type": "number"}]
"""
ROW = {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}


class Cache:
    """A cache of its own, `environment` that names it, and artifacts to put into it."""

    def __init__(self, folder: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]) -> None:
        self.path = folder / "cache"
        self.environment = {**environment, "LEGION_CACHE": str(self.path)}
        self._folder = folder
        self._gppi_folder = gppi_folder

    def artifact(self, answer: int) -> Path:
        source = self._gppi_folder(SOURCE)
        (source / "answer.txt").write_text(f"{answer}\n")
        out = self._folder / f"{answer}.zip"
        done = legion("pack", source, "-o", out, env=self.environment)
        assert done.returncode == 0, done.stderr
        return out

    def run(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = legion("cache", *arguments, env=self.environment)
        assert done.returncode == code, done.stderr
        return done

    def shown(self) -> Any:
        return json.loads(self.run("show", "--json").stdout)

    def artifacts(self) -> list[str]:
        folder = self.path / "artifacts"
        return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.fixture
def cache(tmp_path: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]) -> Cache:
    return Cache(tmp_path, environment, gppi_folder)


@pytest.fixture
def gateway(
    cache: Cache, environment: dict[str, str], start_server: Callable[..., Server]
) -> Iterator[Callable[..., Server]]:
    """Start a gateway on that cache."""
    before = dict(environment)
    environment.update(cache.environment, LEGION_ADMIN_TOKEN=TOKEN)
    started: list[Server] = []

    def start(*arguments: str | Path) -> Server:
        started.append(start_server(*arguments))
        return started[-1]

    yield start
    for server in started:
        server.stop()
    environment.clear()
    environment.update(before)


def predict(cache: Cache, artifact: Path) -> None:
    done = legion(
        "predict", artifact, "-i", "-", "--format", "csv", "--env", "local", env=cache.environment, input="a\n1\n"
    )
    assert done.returncode == 0, done.stderr


def answer(server: Server, path: str = "/invocations") -> Any:
    reply = server.post(path, ROW)
    assert reply.status_code == 200, reply.text
    return reply.json()["predictions"][0]["v"]


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


class TestLines:
    def test_an_empty_cache(self, cache: Cache) -> None:
        assert cache.run().stdout == f"{cache.path}: 0 B of 20.0 GiB\n"
        assert cache.run("prune").stdout == "0 B freed, 0 B left\n"
        assert not cache.path.exists()

    def test_a_wrong_size_is_refused(self, cache: Cache) -> None:
        cache.environment["LEGION_CACHE_SIZE"] = "plenty"
        for arguments in (["show"], ["prune"]):
            assert "LEGION_CACHE_SIZE: 'plenty' is no size" in cache.run(*arguments, code=2).stderr
        assert "'1 XB' is no size" in cache.run("prune", "--to", "1 XB", code=2).stderr
        assert "exclude each other" in cache.run("prune", "--to", "1MB", "--all", code=2).stderr

    @pytest.mark.slow
    def test_what_is_there_is_shown_and_pruned(self, cache: Cache) -> None:
        for number in (1, 2):
            predict(cache, cache.artifact(number))
        document = cache.shown()
        assert (document["cache"], document["limit"]) == (str(cache.path), 20 * 2**30)
        assert document["counted"] == sum(entry["size"] for entry in document["entries"])
        older, newer = document["entries"]
        assert datetime.fromisoformat(older["used"]) < datetime.fromisoformat(newer["used"])
        for entry in (older, newer):
            assert (entry["kind"], entry["what"], entry["in_use"]) == ("artifacts", "probe 1.0.0-test", False)
            content = sum(path.stat().st_size for path in Path(entry["path"]).rglob("*") if path.is_file())
            assert entry["size"] == content
        head, columns, first, second = cache.run("show").stdout.splitlines()
        assert head.endswith(" of 20.0 GiB")
        assert columns.split()[:3] == ["KIND", "NAME", "SIZE"]
        assert [line.split()[1] for line in (first, second)] == [newer["name"][:12], older["name"][:12]]
        cache.environment["LEGION_CACHE_SIZE"] = str(newer["size"])
        done = cache.run("prune")
        assert done.stderr.startswith(f"removed artifacts {older['name'][:12]} probe 1.0.0-test (")
        assert cache.artifacts() == [newer["name"]]
        removed = json.loads(cache.run("prune", "--all", "--json").stdout)
        assert ([one["name"] for one in removed["removed"]], removed["left"]) == ([newer["name"]], 0)
        assert cache.artifacts() == []


@pytest.mark.slow
class TestInUse:
    def test_what_a_gateway_serves_stays_and_its_workers_can_be_started_again(
        self, cache: Cache, gateway: Callable[..., Server]
    ) -> None:
        server = gateway(cache.artifact(1), "--env", "local")
        done = cache.run("prune", "--all")
        assert done.stdout.splitlines()[-1] == "what is left is in use, or was used just now"
        assert [entry["in_use"] for entry in cache.shown()["entries"]] == [True]
        for _ in range(2):
            [worker] = server.workers()
            os.kill(worker, signal.SIGKILL)
            cache.run("prune", "--all")
            until(partial(restarted, server, worker))
            assert answer(server) == 1
        server.process.kill()
        server.process.wait()
        until(lambda: not any(entry["in_use"] for entry in cache.shown()["entries"]))
        cache.run("prune", "--all")
        assert cache.artifacts() == []

    def test_what_a_batch_reads_stays_until_it_is_done(self, cache: Cache) -> None:
        command = [sys.executable, "-m", "legion.cli.main", "predict", str(cache.artifact(1))]
        batch = subprocess.Popen(
            [*command, "-i", "-", "--format", "csv", "--env", "local"],
            env=cache.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: [entry["in_use"] for entry in cache.shown()["entries"]] == [True])
        cache.run("prune", "--all")
        assert len(cache.artifacts()) == 1
        out, _ = batch.communicate("a\n1\n2\n", timeout=60)
        assert out.split() == ["v", "1.0", "1.0"]
        cache.run("prune", "--all")
        assert cache.artifacts() == []

    def test_a_version_goes_when_another_has_taken_its_place(
        self, cache: Cache, gateway: Callable[..., Server], tmp_path: Path
    ) -> None:
        server = gateway("--admin", "--state", tmp_path / "state")
        put(server, cache.artifact(1))
        until(lambda: served(server) == 1)
        first = cache.artifacts()
        put(server, cache.artifact(2))
        until(lambda: served(server) == 2)
        # The provisioner keeps what it handed over for a while; its successor keeps nothing.
        end_provisioner(server)
        cache.run("prune", "--all")
        # A rollback would go back to it.
        assert set(first) < set(cache.artifacts())
        put(server, cache.artifact(3))
        until(lambda: served(server) == 3)
        end_provisioner(server)
        until(lambda: cache.run("prune", "--all") and not set(first) & set(cache.artifacts()))
        assert len(cache.artifacts()) == 2
        assert served(server) == 3

    def test_a_deployment_whose_model_was_pruned_is_brought_anew(
        self, cache: Cache, gateway: Callable[..., Server], tmp_path: Path
    ) -> None:
        state = tmp_path / "state"
        server = gateway("--admin", "--state", state)
        put(server, cache.artifact(1))
        until(lambda: served(server) == 1)
        server.stop()
        until(lambda: cache.run("prune", "--all") and cache.artifacts() == [])
        server = gateway("--admin", "--state", state)
        until(lambda: served(server) == 1)
        assert len(cache.artifacts()) == 1


@pytest.mark.slow
def test_an_environment_that_uv_made_is_held_counted_and_made_again(
    cache: Cache, gateway: Callable[..., Server]
) -> None:
    source = cache.artifact(1).with_suffix("")
    assert legion("unpack", f"{source}.zip", source, env=cache.environment).returncode == 0
    (source / "conda.yaml").write_text("dependencies:\n- pip:\n  - six==1.16.0\n")
    path = cache.path.parent / "with-six.zip"
    assert legion("pack", source, "-o", path, env=cache.environment).returncode == 0
    server = gateway(path, "--env", "uv")
    cache.run("prune", "--all", "--downloads")
    found = {entry["kind"]: entry for entry in cache.shown()["entries"]}
    assert found["environments"]["in_use"]
    assert found["environments"]["counted"]
    assert found["environments"]["what"].startswith("Python 3.")
    assert 0 < found["environments"]["size"] < 500 * 2**20
    [worker] = server.workers()
    os.kill(worker, signal.SIGKILL)
    until(lambda: server.workers() not in ([], [worker]))
    assert answer(server) == 1
    server.stop()
    cache.run("prune", "--all")
    assert cache.shown()["entries"] == []
    assert [name for name in os.listdir(cache.path / "environments") if not name.endswith(".lock")] == []
    assert answer(gateway(path, "--env", "uv")) == 1


def put(server: Server, artifact: Path) -> None:
    body: Any = {"variants": [{"name": "one", "model": str(artifact)}], "workers": {"env": "local", "keep_warm": 0}}
    headers = {"authorization": f"Bearer {TOKEN}"}
    reply = requests.put(f"{server.url}/admin/deployments/probe", json=body, headers=headers, timeout=60)
    assert reply.status_code == 202, reply.text


def served(server: Server) -> Any:
    """What it answers, or None while it does not."""
    reply = server.post("/models/probe/invocations", ROW)
    return reply.json()["predictions"][0]["v"] if reply.status_code == 200 else None


def restarted(server: Server, worker: int) -> bool:
    return server.workers() not in ([], [worker])


def end_provisioner(server: Server) -> None:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    for child in children:
        if b"legion.provision" in command_of(child):
            os.kill(int(child), signal.SIGKILL)
