"""64 registrations at once: of 64 artifacts, of one artifact, by the command line; on four kinds of registry."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import probes
from demands import Demand, Section, Table, none_of, seconds
from parts import environment
from scale import Scale

from legion.registry.client import connect
from real_parts import MlflowServer, PostgresServer

_PATIENCE = 240.0  # seconds for one round


class Crowd:
    """So many processes that wait to register, each with so many threads."""

    def __init__(self, processes: int, threads: int, folder: Path) -> None:
        self._threads = threads
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("registering.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
                # Without a server MLflow puts artifacts beside the working directory.
                cwd=folder,
            )
            for _ in range(processes)
        ]
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready"), "a registering process did not start"

    def register(self, uri: str, name: str, paths: list[Path]) -> tuple[list[list[object]], float]:
        """All paths at once; [version, created] of each ([None, reason] where it failed), and the seconds it took."""
        began = time.monotonic()
        for number, process in enumerate(self._processes):
            mine = [str(path) for path in paths[number * self._threads : (number + 1) * self._threads]]
            assert process.stdin is not None
            process.stdin.write(json.dumps([uri, name, mine]) + "\n")
            process.stdin.flush()
        answers: list[list[object]] = []
        for process in self._processes:
            assert process.stdout is not None
            answers += json.loads(process.stdout.readline())
        return answers, time.monotonic() - began

    def end(self) -> None:
        """They end with their input."""
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@contextmanager
def _crowd(scale: Scale, folder: Path) -> Iterator[Crowd]:
    crowd = Crowd(scale.processes, scale.threads, folder)
    try:
        yield crowd
    finally:
        crowd.end()


def prove(scale: Scale) -> Section:
    """The whole proof."""
    folder = Path(tempfile.mkdtemp(prefix="legion-reliability-"))
    count = scale.processes * scale.threads
    try:
        made = [
            probes.artifact(folder / f"{number}.zip", 1, version=f"1.0.0-{number}")
            for number in range(count + scale.commands)
        ]
        with ExitStack() as stack:
            crowd = stack.enter_context(_crowd(scale, folder))
            postgres = stack.enter_context(PostgresServer())
            direct = postgres.database().replace("postgresql://", "postgresql+psycopg2://")
            found = {
                "SQLite": _on(f"sqlite:///{folder}/mlflow.db", crowd, made, scale, folder),
                "PostgreSQL": _on(direct, crowd, made, scale, folder),
            }
            for title, backend in (
                ("MLflow's server on SQLite", None),
                ("MLflow's server on PostgreSQL", postgres.database()),
            ):
                with MlflowServer(backend, workers=2) as server:
                    found[title] = _on(server.url, crowd, made, scale, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _section(found, scale)


class _Found:
    """What was found on one registry."""

    def __init__(self) -> None:
        self.demands: list[Demand] = []
        self.times: list[float] = []


def _on(uri: str, crowd: Crowd, made: list[Path], scale: Scale, folder: Path) -> _Found:
    found = _Found()
    count = scale.processes * scale.threads
    answers, took = crowd.register(uri, "many", made[:count])
    found.times.append(took)
    found.demands += [
        none_of(f"errors, {count} artifacts", _errors(answers)),
        _numbers(f"versions of {count} artifacts", [one for one, _ in answers], count),
        _numbers("the same in the registry", _live(uri, "many"), count),
    ]
    answers, took = crowd.register(uri, "one", [made[0]] * count)
    found.times.append(took)
    created = sum(made_now is True for _, made_now in answers)
    found.demands += [
        none_of(f"errors, one artifact {count} times", _errors(answers)),
        Demand("its versions", "1", str(len(_live(uri, "one"))), _live(uri, "one") == [1]),
        Demand(
            "answers with that version",
            str(count),
            str(sum(one == 1 for one, _ in answers)),
            {1} == {one for one, _ in answers},
        ),
        Demand("of which made it", "1", str(created), created == 1),
    ]
    began = time.monotonic()
    codes = _commands(uri, made[count : count + scale.commands], folder)
    found.times.append(time.monotonic() - began)
    found.demands += [
        none_of(f"failed `legion register`, {scale.commands} at once", sum(code != 0 for code in codes)),
        _numbers("their versions in the registry", _live(uri, "commands"), scale.commands),
    ]
    return found


def _errors(answers: list[list[object]]) -> int:
    reasons = [reason for version, reason in answers if version is None]
    if reasons:
        print(f"  first error: {reasons[0]}", file=sys.stderr)
    return len(reasons)


def _numbers(what: str, numbers: list[object] | list[int], count: int) -> Demand:
    found = sorted(one for one in numbers if isinstance(one, int))
    met = found == list(range(1, count + 1))
    return Demand(what, f"1 … {count}, no gap", f"1 … {count}, no gap" if met else str(found), met)


def _live(uri: str, name: str) -> list[int]:
    versions = connect(uri).search_model_versions(f"name='{name}'", max_results=1000)
    return sorted(int(one.version) for one in versions)


def _commands(uri: str, paths: list[Path], folder: Path) -> list[int]:
    """The exit codes of so many real commands at once."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "legion.cli.main", "register", str(path), "--name", "commands", "--no-check"],
            stdout=subprocess.DEVNULL,
            env=environment(MLFLOW_TRACKING_URI=uri, LEGION_CACHE=str(folder / "cache")),
            cwd=folder,
        )
        for path in paths
    ]
    try:
        return [one.wait(_PATIENCE) for one in started]
    finally:
        for one in started:
            if one.poll() is None:
                one.kill()
                one.wait()


def _section(found: dict[str, _Found], scale: Scale) -> Section:
    count = scale.processes * scale.threads
    rows = []
    for title, one in found.items():
        rows.append((title, *map(seconds, one.times)))
    return Section(
        f"{count} registrations at once",
        tuple(
            Demand(f"{title}: {demand.what}", demand.wanted, demand.measured, demand.met)
            for title, one in found.items()
            for demand in one.demands
        ),
        (
            Table(
                ("time taken", f"{count} artifacts", f"one artifact {count} times", f"{scale.commands} commands"),
                tuple(rows),
            ),
        ),
        (
            f"{scale.processes} processes of {scale.threads} threads each push to a registry that is new: its tables "
            "are made by whoever comes first. First each thread has an artifact of its own, under one name; then all "
            "push the same file under another name; then real `legion register` processes start at once, whose time "
            "is mostly that of importing MLflow on the machine's cores. All processes are on one machine and share "
            "its locks.",
        ),
    )
