"""Sixty-four registrations at once, by threads and processes: no gap, no error, one version for one artifact."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from legion.registry import client as border
from legion.registry import contention
from legion.registry.store import push

PROCESS = Path(__file__).with_name("registering_process.py")
PROCESSES, THREADS = 4, 16

pytest_plugins = ["registries"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.timeout(600)]


@pytest.fixture(params=["sqlite", "postgresql", "server"])
def new_registry(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry that nobody has opened yet: its tables are made by whoever comes first."""
    monkeypatch.chdir(tmp_path)
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/mlflow.db"
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres")()
        return str(database).replace("postgresql://", "postgresql+psycopg2://")
    return str(request.getfixturevalue("mlflow_server")().url)


def at_once(uri: str, name: str, paths: list[Path], folder: Path, *, own_locks: bool = False) -> list[list[Any]]:
    """Push all paths from four processes of sixteen threads each; what each push returned."""
    share = len(paths) // PROCESSES
    gate = folder / f"gate-{name}"
    processes = []
    for number in range(PROCESSES):
        env = {**_environment(), "PYTHONPATH": str(PROCESS.parents[2] / "src")}
        if own_locks:
            # As if it ran on a machine of its own.
            (folder / f"tmp{number}").mkdir(exist_ok=True)
            env["TMPDIR"] = str(folder / f"tmp{number}")
        chosen = [str(path) for path in paths[number * share : (number + 1) * share]]
        command = [sys.executable, str(PROCESS), uri, name, str(gate), *chosen]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=folder)
        )
    with ended(processes):
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready"), process.communicate()[1]
        gate.touch()
        results = []
        for process in processes:
            out, err = process.communicate(timeout=500)
            assert process.returncode == 0, err
            results += json.loads(out)
    return results


def _environment() -> dict[str, str]:
    import os

    return {key: value for key, value in os.environ.items() if not key.startswith(("LEGION_", "MLFLOW_"))}


@contextlib.contextmanager
def ended(processes: list[subprocess.Popen[str]]) -> Iterator[None]:
    """Kill what still runs at the end."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def live(uri: str, name: str) -> list[int]:
    """The numbers that the registry has, in order."""
    return sorted(int(one.version) for one in border.connect(uri).search_model_versions(f"name='{name}'"))


def test_sixty_four_artifacts_get_sixty_four_numbers(
    new_registry: str, tmp_path: Path, linear: Callable[..., Path]
) -> None:
    made = [linear(f"1.0.0-{number}") for number in range(PROCESSES * THREADS)]
    results = at_once(new_registry, "many", made, tmp_path)
    assert sorted(number for number, _ in results) == list(range(1, len(made) + 1))
    assert all(created for _, created in results)
    assert live(new_registry, "many") == list(range(1, len(made) + 1))
    same = [made[0]] * len(made)
    again = at_once(new_registry, "same", same, tmp_path)
    assert [number for number, _ in again] == [1] * len(made)
    assert sum(created for _, created in again) == 1
    assert live(new_registry, "same") == [1]
    # The model that stands behind it was uploaded once.
    client = border.connect(new_registry)
    experiment = client.get_experiment_by_name("legion").experiment_id
    assert len(client.search_logged_models([experiment], max_results=200)) == len(made) + 1


@pytest.mark.parametrize("new_registry", ["postgresql"], indirect=True)
def test_machines_that_share_no_lock_end_with_one_version(
    new_registry: str, tmp_path: Path, linear: Callable[..., Path]
) -> None:
    push(linear("1.0.0-first"), "shared", tracking_uri=new_registry)
    made = linear("1.0.0-a")
    results = at_once(new_registry, "shared", [made] * (PROCESSES * THREADS), tmp_path, own_locks=True)
    assert len({number for number, _ in results}) == 1
    assert len(live(new_registry, "shared")) == 2
    different = [linear(f"1.0.0-{number}") for number in range(PROCESSES * THREADS)]
    results = at_once(new_registry, "apart", different, tmp_path, own_locks=True)
    # Nobody deletes what nobody else made: here too there is no gap.
    assert sorted(number for number, _ in results) == list(range(1, len(different) + 1))


def test_a_lock_lets_one_in_and_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    inside = []
    with contention.alone("a", "b"):
        inside.append(1)
        with contention.alone("a", "c"):
            inside.append(2)
    (folder,) = tmp_path.iterdir()
    assert inside == [1, 2]
    assert folder.stat().st_mode & 0o077 == 0
    assert list(folder.iterdir()) == []


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    with contention.alone("a"):
        pass
    (folder,) = tmp_path.iterdir()
    folder.chmod(0o777)
    with contention.alone("a"):
        assert list(folder.iterdir()) == []


def test_a_busy_database_is_tried_again_and_any_other_fault_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    calls = []

    def busy() -> str:
        calls.append(1)
        if len(calls) < 5:
            raise RuntimeError("(sqlite3.OperationalError) database is locked")
        return "done"

    assert contention.patiently(busy) == "done"
    with pytest.raises(RuntimeError, match="no such table"):
        contention.patiently(lambda: (_ for _ in ()).throw(RuntimeError("no such table")))
    assert len(calls) == 5
