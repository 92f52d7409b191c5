"""`legion serve models:/…@alias --follow` against a real registry: swaps under load, refusals, a way back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from conftest import Server, legion

pytestmark = pytest.mark.slow

VERSION = """
    import os, time

    def init():
        {init}
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[{answer}, row[0]] for row in input_matrix.tolist()], ["v", "a"]

    def get_info():
        number = lambda name: {{"name": name, "type": "number"}}
        return [number("a")], [number("v"), number("a")]
"""


def row(value: float) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a"], "data": [[value]]}}


def golden(answer: object) -> list[dict[str, Any]]:
    return [{"request": row(1.0), "response": {"predictions": [{"v": answer, "a": 1.0}]}}]


class Registry:
    """A registry of its own in SQLite; versions answer with their own number."""

    def __init__(self, folder: Path, environment: dict[str, str], gppi_folder: Callable[..., Path]) -> None:
        self.environment = {**environment, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/registry.db"}
        self.folder = folder
        self._gppi_folder = gppi_folder
        from mlflow import MlflowClient

        self.client = MlflowClient(self.environment["MLFLOW_TRACKING_URI"])

    def version(
        self,
        answer: object,
        *,
        init: str = "pass",
        expected: object = None,
        requirements: str | None = None,
        alias: str | None = None,
        check: bool = False,
    ) -> str:
        """Register one more; its number."""
        folder = self._gppi_folder(VERSION.format(answer=answer, init=init), golden=golden(expected or answer))
        if requirements is not None:
            (folder / "conda.yaml").write_text(f"dependencies:\n- pip:\n  - {requirements}\n")
        artifact = folder.with_suffix(".zip")
        self.run("pack", folder, "-o", artifact)
        options = ["--alias", alias] if alias else []
        checks = "--check" if check else "--no-check"
        out = self.run("register", artifact, "--name", "probe", checks, "--json", *options)
        return str(json.loads(out)["version"])

    def run(self, *arguments: str | Path) -> str:
        done = legion(*arguments, env=self.environment, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def point(self, version: str) -> None:
        """What any MLflow client does."""
        self.client.set_registered_model_alias("probe", "champion", version)

    def tags(self, version: str) -> dict[str, str]:
        return dict(self.client.get_model_version("probe", version).tags)


@pytest.fixture(scope="module")
def registry(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str], gppi_folder: Callable[..., Path]
) -> Registry:
    return Registry(tmp_path_factory.mktemp("registry"), environment, gppi_folder)


@pytest.fixture(scope="module")
def following(registry: Registry, start_server: Callable[..., Server], environment: dict[str, str]) -> Iterator[Server]:
    registry.version(1, alias="champion")
    environment["MLFLOW_TRACKING_URI"] = registry.environment["MLFLOW_TRACKING_URI"]
    yield start_server("models:/probe@champion", "--follow")
    del environment["MLFLOW_TRACKING_URI"]


class Callers:
    """Eight callers who never stop; every answer is kept with when it was asked for and when it came."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answers: list[tuple[float, int, bool, Any]] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._call, args=(n,), daemon=True) for n in range(8)]

    def _call(self, number: int) -> None:
        session = requests.Session()
        value = float(number)
        while not self.ended.is_set():
            value += 8
            asked = time.monotonic()
            answer = session.post(self.server.url + "/invocations", json=row(value), timeout=60)
            body = answer.json()
            got = body["predictions"][0]["a"] if answer.status_code == 200 else None
            self.answers.append((asked, answer.status_code, got == value, body))

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()
        assert self.answers
        assert [one for one in self.answers if one[1] != 200 or not one[2]] == []


def answered(server: Server) -> Any:
    answer = server.post("/invocations", row(5.0))
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]["v"]


def becomes(server: Server, value: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while answered(server) != value:
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.01)


def says(server: Server, words: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while words not in server.log.read_text():
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.05)


def test_a_moved_alias_is_followed_under_load(following: Server, registry: Registry) -> None:
    assert answered(following) == 1
    first = following.workers()
    second = registry.version(2)
    with Callers(following) as callers:
        registry.point(second)
        becomes(following, 2)
        switched = time.monotonic()
        time.sleep(0.3)
    # The answers name the version of the artifact; none after the switch is of the one before.
    assert {body["predictions"][0]["v"] for asked, _, _, body in callers.answers if asked > switched} == {2}
    assert {body["predictions"][0]["v"] for *_, body in callers.answers} == {1, 2}
    # The one before is warm, so the way back starts nothing.
    assert set(first) < set(following.workers())
    registry.point("1")
    becomes(following, 1)
    assert set(first) < set(following.workers())
    assert len(following.workers()) == 2


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("failing init", "no such device"),
        ("golden answers", "golden"),
        ("missing requirement", "legion-has-no-such-package"),
        ("corrupt download", "not what was registered"),
    ],
)
def test_a_broken_version_is_refused_and_the_old_one_answers(
    following: Server, registry: Registry, kind: str, reason: str
) -> None:
    registry.point("1")
    becomes(following, 1)
    if kind == "failing init":
        broken = registry.version(7, init="raise RuntimeError('no such device')")
    elif kind == "golden answers":
        broken = registry.version(8, expected=9)
    elif kind == "missing requirement":
        broken = registry.version(10, requirements="legion-has-no-such-package==1.0")
    else:
        broken = registry.version(11)
        source = registry.client.get_model_version("probe", broken).source
        entrypoint = Path(registry.folder, source.removeprefix("file://"), "entrypoint.py")
        entrypoint.write_text(entrypoint.read_text().replace("11", "12"))
    workers = len(following.workers())
    with Callers(following) as callers:
        registry.point(broken)
        says(following, f"/{broken}")
        end = time.monotonic() + 60
        while "legion.refused" not in registry.tags(broken):
            assert time.monotonic() < end, following.log.read_text()
            time.sleep(0.1)
    assert reason in registry.tags(broken)["legion.refused"]
    assert {body["predictions"][0]["v"] for *_, body in callers.answers} == {1}
    assert len(following.workers()) == workers
    assert 'outcome="refused"' in requests.get(following.url + "/metrics", timeout=10).text


def test_an_alias_that_is_gone_stops_nothing(following: Server, registry: Registry) -> None:
    registry.point("1")
    becomes(following, 1)
    registry.client.delete_registered_model_alias("probe", "champion")
    says(following, "champion was not found")
    assert answered(following) == 1
    registry.point("2")
    becomes(following, 2)


def test_what_cannot_move_cannot_be_followed(environment: dict[str, str], registry: Registry) -> None:
    done = legion("serve", "models:/probe/1", "--follow", env=registry.environment)
    assert done.returncode == 2
    assert "never moves" in done.stderr


def test_an_alias_that_is_not_there_is_said(environment: dict[str, str], registry: Registry) -> None:
    done = legion("serve", "models:/probe@nobody", "--follow", "--port", "0", env=registry.environment)
    assert done.returncode == 3
    assert "nobody" in done.stderr.splitlines()[-1]
