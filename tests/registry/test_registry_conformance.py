"""One suite over every registry: what is pushed is found, pulled, promoted, rolled back and deleted alike."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from legion.artifact import manifest as manifests
from legion.artifact.archive import digest, open_artifact, pack
from legion.errors import RefusedError, RegistryError, UsageError, VerificationError
from legion.reference import parse as parse_reference
from legion.registry import client as border
from legion.registry import tags, versions
from legion.registry.delete import Deleted, delete
from legion.registry.promote import promote
from legion.registry.rollback import rollback
from legion.registry.store import pull, push, resolve

LINEAR = Path(__file__).parents[1] / "toolchain" / "models" / "linear"
OBJECTS = "def init():\n    return 'objects'\ndef predict_on_objects(objects):\n    return objects\n"

pytest_plugins = ["registries"]
# Stages are deprecated; MLflow warns of its own models without an input example.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]
_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """A registered model of the test's own."""
    return f"model-{next(_numbers)}"


def test_the_tags_say_what_was_pushed(registry: str, name: str, linear: Callable[..., Path]) -> None:
    made = linear()
    version = push(made, name, golden="passed 3", tracking_uri=registry)
    found = border.connect(registry).get_model_version(name, version.version)
    opened = open_artifact(made)
    assert found.tags[tags.DIGEST] == digest(made) == version.digest
    assert found.tags[tags.VERSION] == "1.0.0-a" == version.artifact_version
    assert json.loads(found.tags[tags.MANIFEST]) == manifests.as_tree(opened.manifest)
    assert found.tags[tags.TOOLCHAIN] == "mlflow 3.17.2" == version.toolchain
    assert len(found.tags[tags.ENVIRONMENT]) == 64
    assert found.tags[tags.GOLDEN] == "passed 3" == version.golden
    logged = border.connect(registry).get_logged_model(version.model_id)
    assert logged.tags[tags.DIGEST] == version.digest
    # A server says nothing by an empty text.
    assert not logged.source_run_id
    # The environment's hash is that of its content, not of the model's.
    again = push(linear("1.0.0-b"), name, tracking_uri=registry)
    assert (again.environment, again.golden) == (version.environment, None)
    # A check that was made later is recorded where the artifact was registered before.
    assert push(linear("1.0.0-b"), name, golden="none", tracking_uri=registry).golden == "none"


def test_every_reference_means_its_version(registry: str, name: str, linear: Callable[..., Path]) -> None:
    first = push(linear("1.0.0-a"), name, alias="champion", stage="Production", tracking_uri=registry)
    second = push(linear("1.0.0-b"), name, tracking_uri=registry)
    for text, number in (("@champion", "1"), ("/1", "1"), ("/Production", "1"), ("/latest", "2"), ("/2", "2")):
        assert resolve(parse_reference(f"models:/{name}{text}"), tracking_uri=registry).version == number
    assert (first.version, second.version) == ("1", "2")


@pytest.mark.parametrize("kind", ["mlflow", "gppi"])
def test_a_pull_gives_back_the_same_file(
    registry: str, name: str, kind: str, linear: Callable[..., Path], gppi_folder: Callable[..., Path], tmp_path: Path
) -> None:
    if kind == "mlflow":
        made = linear()
    else:
        folder = gppi_folder(OBJECTS)
        made = tmp_path / "gppi.zip"
        pack(folder, manifests.parse((folder / "legion.model.yaml").read_bytes(), "legion.model.yaml"), made)
    version = push(made, name, alias="champion", tracking_uri=registry)
    for number, text in enumerate((f"models:/{name}@champion", f"models:/{name}/1", f"models:/{version.model_id}")):
        back = pull(parse_reference(text), tmp_path / f"back{number}", tracking_uri=registry)
        assert pack(back, open_artifact(made).manifest, tmp_path / "again.zip") == digest(made)


@pytest.mark.parametrize("fault", ["changed", "missing", "added", "link"])
def test_what_was_changed_in_the_store_is_refused(
    registry: str, name: str, fault: str, linear: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(linear(), name, tracking_uri=registry)
    import mlflow.artifacts

    download = mlflow.artifacts.download_artifacts

    def damaged(**options: Any) -> str:
        # What the store gave out is damaged on its way, wherever it keeps it.
        folder = Path(download(**options))
        if fault == "changed":
            data = (folder / "MLmodel").read_bytes()
            (folder / "MLmodel").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        elif fault == "missing":
            (folder / "conda.yaml").unlink()
        elif fault == "added":
            (folder / "sitecustomize.py").write_text("raise SystemExit")
        else:
            (folder / "conda.yaml").unlink()
            (folder / "conda.yaml").symlink_to("/etc/passwd")
        return str(folder)

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", damaged)
    with pytest.raises(VerificationError, match="is not what was registered") as caught:
        pull(parse_reference(f"models:/{name}/1"), tmp_path / "into", tracking_uri=registry)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "into").iterdir()) == []


# MLflow keeps the experiment in the environment, for its children.
@mock.patch.dict(os.environ)
@pytest.mark.parametrize("way", ["log_model", "register_model", "old_layout"])
def test_what_plain_mlflow_registered_resolves_and_pulls(registry: str, name: str, way: str, tmp_path: Path) -> None:
    import mlflow
    from mlflow.models import infer_signature

    border.connect(registry)
    mlflow.set_experiment("plain")

    class Twice(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input * 2

    signature = infer_signature([[1.0]], [[2.0]])
    if way == "log_model":
        with mlflow.start_run():
            mlflow.pyfunc.log_model(name="model", python_model=Twice(), registered_model_name=name, signature=signature)
    elif way == "register_model":
        with mlflow.start_run() as run:
            mlflow.pyfunc.log_model(name="model", python_model=Twice(), signature=signature)
        mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
    else:
        # MLflow 2 kept a model among the artifacts of its run.
        with mlflow.start_run() as run:
            mlflow.log_artifacts(str(LINEAR), "model")
        client = mlflow.MlflowClient()
        client.create_registered_model(name)
        client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
    found = resolve(parse_reference(f"models:/{name}/latest"), tracking_uri=registry)
    assert (found.version, found.digest, found.golden) == ("1", None, None)
    folder = pull(parse_reference(f"models:/{name}/1"), tmp_path / "pulled", tracking_uri=registry)
    assert (folder / "MLmodel").is_file()
    assert not (folder / "registered_model_meta").exists()


def test_promotion_needs_a_passed_check(registry: str, name: str, linear: Callable[..., Path]) -> None:
    for letter, golden in (("a", "passed 2"), ("b", None), ("c", "none"), ("d", "failed: case 0 gave 1, not 2")):
        push(linear(f"1.0.0-{letter}"), name, golden=golden, tracking_uri=registry)
    assert promote(name, "1", alias="champion", tracking_uri=registry).before is None
    for number, words in (("2", "has not been checked"), ("3", "no golden answers"), ("4", "case 0 gave 1, not 2")):
        for target in ({"alias": "champion"}, {"stage": "Production"}):
            with pytest.raises(RefusedError, match=words):
                promote(name, number, **target, tracking_uri=registry)
    assert resolve(parse_reference(f"models:/{name}@champion"), tracking_uri=registry).version == "1"
    forced = promote(name, "3", alias="champion", forced="the demo is today", tracking_uri=registry)
    assert (forced.before, forced.version.version) == ("1", "3")
    assert forced.forced is not None
    assert "the demo is today" in forced.forced
    found = versions.detail(name, tracking_uri=registry)
    assert found.forced == {"3": forced.forced}
    assert found.previous == {"champion": "1"}
    with pytest.raises(RegistryError):
        promote(name, "9", alias="champion", tracking_uri=registry)


def test_a_stage_means_the_version_that_was_promoted_last(
    registry: str, name: str, linear: Callable[..., Path]
) -> None:
    for letter in "ab":
        push(linear(f"1.0.0-{letter}"), name, golden="passed 1", tracking_uri=registry)
    for number in ("2", "1"):
        promote(name, number, stage="Production", tracking_uri=registry)
        assert resolve(parse_reference(f"models:/{name}/Production"), tracking_uri=registry).version == number
    (model,) = [model for model in versions.models(tracking_uri=registry) if model.name == name]
    assert model.latest == "2"
    assert model.stages["Production"] == "1"


def test_rolling_back_twice_returns(registry: str, name: str, linear: Callable[..., Path]) -> None:
    for letter in "abc":
        push(linear(f"1.0.0-{letter}"), name, golden="passed 1", tracking_uri=registry)

    def champion() -> str:
        return resolve(parse_reference(f"models:/{name}@champion"), tracking_uri=registry).version

    promote(name, "1", alias="champion", tracking_uri=registry)
    with pytest.raises(RefusedError, match="--to VERSION"):
        rollback(name, tracking_uri=registry)
    promote(name, "2", alias="champion", tracking_uri=registry)
    # Moved to where it is: the record of before stays.
    promote(name, "2", alias="champion", tracking_uri=registry)
    assert rollback(name, tracking_uri=registry).before == "2"
    assert champion() == "1"
    rollback(name, tracking_uri=registry)
    assert champion() == "2"
    rollback(name, to="3", tracking_uri=registry)
    assert champion() == "3"
    delete(name, "2", tracking_uri=registry)
    with pytest.raises(RefusedError, match="no version 2 any more"):
        rollback(name, tracking_uri=registry)
    versions.record_golden(name, "1", "failed: case 0", tracking_uri=registry)
    with pytest.raises(RefusedError, match="case 0"):
        rollback(name, to="1", tracking_uri=registry)
    assert champion() == "3"


def test_what_an_alias_means_is_not_deleted(registry: str, name: str, linear: Callable[..., Path]) -> None:
    for letter in "abc":
        push(linear(f"1.0.0-{letter}"), name, golden="passed 1", tracking_uri=registry)
    promote(name, "1", alias="champion", tracking_uri=registry)
    promote(name, "2", stage="Production", tracking_uri=registry)
    for number in ("1", "2", None):
        with pytest.raises(RefusedError, match="--force"):
            delete(name, number, tracking_uri=registry)
    gone = versions.one(name, "3", tracking_uri=registry)
    assert delete(name, "3", tracking_uri=registry).versions == ("3",)
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException):
        border.connect(registry).get_logged_model(gone.model_id)
    with pytest.raises(RefusedError, match="no version 3"):
        delete(name, "3", tracking_uri=registry)
    assert delete(name, "1", force=True, tracking_uri=registry).versions == ("1",)
    # The same artifact again is a new version, not the deleted one.
    assert push(linear("1.0.0-c"), name, tracking_uri=registry).version == "4"
    assert delete(name, force=True, tracking_uri=registry) == Deleted(name, ("4", "2"), whole=True)
    with pytest.raises(RegistryError):
        versions.detail(name, tracking_uri=registry)


def test_a_logged_model_that_others_use_stays(registry: str, name: str, linear: Callable[..., Path]) -> None:
    version = push(linear(), name, tracking_uri=registry)
    client = border.connect(registry)
    client.create_registered_model(f"{name}-too")
    client.create_model_version(f"{name}-too", f"models:/{version.model_id}", model_id=version.model_id)
    delete(name, "1", tracking_uri=registry)
    assert client.get_logged_model(version.model_id).model_id == version.model_id


def test_a_refusal_is_recorded_and_cleared(registry: str, name: str, linear: Callable[..., Path]) -> None:
    push(linear(), name, tracking_uri=registry)
    assert versions.mark_refused(name, "1", "the answers differ", tracking_uri=registry)
    refused = versions.one(name, "1", tracking_uri=registry).refused
    assert refused is not None
    assert refused.startswith("the answers differ (")
    assert os.uname().nodename in refused
    for _ in range(2):
        assert versions.clear_refused(name, "1", tracking_uri=registry)
    assert versions.one(name, "1", tracking_uri=registry).refused is None
    assert not versions.mark_refused(name, "77", "nothing", tracking_uri=registry)
    assert not versions.clear_refused("no-such-model", "1", tracking_uri=registry)


def test_many_models_and_versions_are_all_listed(
    registry: str, name: str, linear: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_PAGE", 2)
    version = push(linear(), name, alias="champion", tracking_uri=registry)
    client = border.connect(registry)
    logged = client.get_logged_model(version.model_id)
    for _ in range(4):
        client.create_model_version(name, logged.artifact_location, model_id=version.model_id)
    for number in range(3):
        client.create_registered_model(f"{name}-empty-{number}")
    found = versions.detail(name, tracking_uri=registry)
    assert [one.version for one in found.versions] == ["5", "4", "3", "2", "1"]
    assert [one.aliases for one in found.versions] == [(), (), (), (), ("champion",)]
    listed = {model.name: model for model in versions.models(tracking_uri=registry)}
    assert listed[name] == versions.RegisteredModel(name, "5", {"champion": "1"})
    assert listed[f"{name}-empty-2"].latest is None


@pytest.mark.parametrize("golden", ["passed", "passed x", "yes", ""])
def test_a_golden_state_that_is_none_is_not_written(
    registry: str, name: str, golden: str, linear: Callable[..., Path]
) -> None:
    with pytest.raises(UsageError, match="golden state"):
        push(linear(), name, golden=golden, tracking_uri=registry)
