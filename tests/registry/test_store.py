"""Artifacts in the model registry: pushed without a run, pulled whole, loaded by a plain MLflow client."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from conftest import legion
from legion.artifact.archive import digest, pack
from legion.artifact.manifest import Binaries, Manifest, Model, Toolchain
from legion.errors import ArchiveError, RegistryError, UsageError
from legion.reference import parse as parse_reference
from legion.registry import tags
from legion.registry.store import pull, push, resolve

LINEAR = Path(__file__).parents[1] / "toolchain" / "models" / "linear"

pytestmark = pytest.mark.slow


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry of its own; MLflow puts artifacts beside the working directory."""
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/mlflow.db"


def artifact(folder: Path, version: str = "1.0.0-a") -> Path:
    """The model of the toolchain's tests as an artifact."""
    manifest = Manifest(Model("linear", version), Toolchain("mlflow", "3.17.2"), Binaries(conda_path="conda.yaml"))
    out = folder / f"linear-{version}.zip"
    pack(LINEAR, manifest, out)
    return out


def test_a_pushed_artifact_is_there_without_a_run(tmp_path: Path, uri: str) -> None:
    made = artifact(tmp_path)
    version = push(made, "linear", alias="champion", stage="Production", tracking_uri=uri)
    assert (version.name, version.version, version.created) == ("linear", "1", True)
    assert (version.aliases, version.stage, version.digest) == (("champion",), "Production", digest(made))
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from runs").fetchone() == (0,)
    for text in ("models:/linear@champion", "models:/linear/1", "models:/linear/Production", "models:/linear/latest"):
        assert resolve(parse_reference(text), tracking_uri=uri).version == "1"


def test_what_comes_back_is_what_was_pushed(tmp_path: Path, uri: str) -> None:
    made = artifact(tmp_path)
    push(made, "linear", alias="champion", tracking_uri=uri)
    for number in range(2):
        # The second time finds what MLflow wrote beside the files the first time.
        folder = pull(parse_reference("models:/linear@champion"), tmp_path / f"pulled{number}", tracking_uri=uri)
        manifest = Manifest(
            Model("linear", "1.0.0-a"), Toolchain("mlflow", "3.17.2"), Binaries(conda_path="conda.yaml")
        )
        assert pack(folder, manifest, tmp_path / "again.zip") == digest(made)


def test_a_plain_mlflow_client_loads_it(tmp_path: Path, uri: str) -> None:
    push(artifact(tmp_path), "linear", alias="champion", tracking_uri=uri)
    program = """
import mlflow, pandas
model = mlflow.pyfunc.load_model("models:/linear@champion")
print(model.predict(pandas.DataFrame({"length": [1.5], "count": [2]})).tolist())
"""
    command = [sys.executable, "-c", f"import os; os.environ['MLFLOW_TRACKING_URI'] = {uri!r}\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[23.0]"


def test_the_same_artifact_is_registered_once(tmp_path: Path, uri: str) -> None:
    made = artifact(tmp_path)
    first = push(made, "linear", alias="champion", tracking_uri=uri)
    again = push(made, "linear", alias="next", tracking_uri=uri)
    assert (again.version, again.created) == (first.version, False)
    assert set(again.aliases) == {"champion", "next"}
    assert push(artifact(tmp_path, "1.0.0-b"), "linear", tracking_uri=uri).version == "2"
    assert push(made, "other", tracking_uri=uri).version == "1"


def test_many_registrations_at_once_leave_no_gap(tmp_path: Path, uri: str) -> None:
    push(artifact(tmp_path, "1.0.0-first"), "linear", tracking_uri=uri)
    made = [artifact(tmp_path, f"1.0.0-{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda path: push(path, "linear", tracking_uri=uri).version, made))
    assert sorted(map(int, versions)) == list(range(2, 10))


@pytest.mark.parametrize(
    ("name", "alias", "stage"),
    [
        ("a/b", None, None),
        ("a@b", None, None),
        ("$(touch x)", None, None),
        ("it's", None, None),
        ("", None, None),
        ("a", "b c", None),
        ("a", None, "production"),
    ],
)
def test_names_that_could_not_be_referred_to_are_refused(
    tmp_path: Path, uri: str, name: str, alias: str | None, stage: str | None
) -> None:
    with pytest.raises(UsageError):
        push(artifact(tmp_path), name, alias=alias, stage=stage, tracking_uri=uri)
    assert not (tmp_path / "mlflow.db").exists()


def test_what_is_no_artifact_is_not_registered(tmp_path: Path, uri: str) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip at all")
    with pytest.raises(ArchiveError):
        push(tmp_path / "x.zip", "x", tracking_uri=uri)
    assert not (tmp_path / "mlflow.db").exists()


def test_what_is_not_there_is_one_sentence(tmp_path: Path, uri: str) -> None:
    push(artifact(tmp_path), "linear", tracking_uri=uri)
    for text in ("models:/nope/1", "models:/linear@nope", "models:/linear/7", f"runs:/{'0' * 32}/model"):
        folder = tmp_path / "pulled"
        with pytest.raises(RegistryError) as caught:
            pull(parse_reference(text), folder, tracking_uri=uri)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not any(folder.iterdir())
    with pytest.raises(RegistryError, match="models:/linear@nope"):
        resolve(parse_reference("models:/linear@nope"), tracking_uri=uri)


def test_a_server_that_does_not_answer_is_one_sentence_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError) as caught:
        push(artifact(tmp_path), "linear", tracking_uri="http://me:secret@127.0.0.1:9")
    assert "127.0.0.1:9 does not answer" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_versions_of_other_clients_have_no_digest(tmp_path: Path, uri: str) -> None:
    pushed = push(artifact(tmp_path), "linear", tracking_uri=uri)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("delete from model_version_tags where key = ?", (tags.DIGEST,))
    found = resolve(parse_reference("models:/linear/1"), tracking_uri=uri)
    assert found == msgspec.structs.replace(pushed, digest=None, created=False)


@pytest.mark.slow
def test_a_server_that_is_away_is_said_so(tmp_path: Path, environment: dict[str, str]) -> None:
    away = {**environment, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = legion("serve", "models:/wine@champion", "--port", "0", env=away)
    assert done.returncode == 3
    said = done.stderr.splitlines()[-1]
    assert said == ("legion: MLflow's server at 127.0.0.1:9 does not answer; start it, or correct MLFLOW_TRACKING_URI")
