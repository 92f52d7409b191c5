"""The registries that the suite runs against: SQLite, PostgreSQL and MLflow's own server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from legion.artifact.archive import pack
from legion.artifact.manifest import Binaries, Manifest, Model, Toolchain

LINEAR = Path(__file__).parents[1] / "toolchain" / "models" / "linear"


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "server"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry; without a server MLflow puts artifacts beside the working directory."""
    folder = tmp_path_factory.mktemp("registry")
    before = Path.cwd()
    os.chdir(folder)
    yield address(request, folder)
    os.chdir(before)


def address(request: pytest.FixtureRequest, folder: Path) -> str:
    """A new registry of the kind that the test is at."""
    if request.param == "sqlite":
        return f"sqlite:///{folder}/mlflow.db"
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres")()
        return str(database).replace("postgresql://", "postgresql+psycopg2://")
    return str(request.getfixturevalue("mlflow_server")().url)


@pytest.fixture
def linear(tmp_path: Path) -> Callable[[str], Path]:
    """Pack the model of the toolchain's tests under a version of its own."""

    def make(version: str = "1.0.0-a") -> Path:
        manifest = Manifest(Model("linear", version), Toolchain("mlflow", "3.17.2"), Binaries(conda_path="conda.yaml"))
        out = tmp_path / f"linear-{version}.zip"
        pack(LINEAR, manifest, out)
        return out

    return make
