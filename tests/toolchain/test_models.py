"""A run's models are found where MLflow 3 keeps them and where earlier ones did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from legion.errors import TrainingError
from legion.reference import parse as parse_reference
from legion.registry.client import connect
from legion.registry.store import pull
from legion.toolchain.models import RunModel, choose, find

LINEAR = Path(__file__).parent / "models" / "linear"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A client on a store of its own, with an experiment `e` whose artifacts are local files."""
    folder = tmp_path_factory.mktemp("store")
    made = connect(f"sqlite:///{folder}/mlflow.db")
    made.create_experiment("e", artifact_location=str(folder / "artifacts"))
    return made


@pytest.fixture
def run_id(client: Any) -> str:
    """A new run."""
    return str(client.create_run(client.get_experiment_by_name("e").experiment_id).info.run_id)


def log_model(client: Any, run_id: str, name: str, status: str = "READY") -> str:
    experiment = client.get_experiment_by_name("e").experiment_id
    model = client.create_logged_model(experiment, name=name, source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(LINEAR))
    client.finalize_logged_model(model.model_id, status)
    return str(model.model_id)


@pytest.mark.slow
def test_logged_models_are_found_and_fetched(client: Any, run_id: str, tmp_path: Path) -> None:
    first = log_model(client, run_id, "first")
    log_model(client, run_id, "broken", "FAILED")
    other = client.create_run(client.get_run(run_id).info.experiment_id).info.run_id
    log_model(client, other, "of-another-run")
    assert find(client, run_id) == (RunModel("first", f"models:/{first}", first),)
    folder = pull(parse_reference(find(client, run_id)[0].uri), tmp_path / "here")
    assert (folder / "weights.json").read_bytes() == (LINEAR / "weights.json").read_bytes()
    assert not (folder / "registered_model_meta").exists()


@pytest.mark.slow
def test_a_name_logged_twice_stands_for_the_newest(client: Any, run_id: str) -> None:
    log_model(client, run_id, "model")
    newest = log_model(client, run_id, "model")
    assert [model.model_id for model in find(client, run_id)] == [newest]


@pytest.mark.slow
def test_models_of_the_older_layout_are_found_and_fetched(client: Any, run_id: str, tmp_path: Path) -> None:
    client.log_artifacts(run_id, str(LINEAR), "model")
    client.log_artifacts(run_id, str(LINEAR), "nested/deeper")
    client.log_text(run_id, "no model", "notes/readme.txt")
    found = find(client, run_id)
    assert sorted(model.name for model in found) == ["model", "nested/deeper"]
    nested = choose(found, "nested/deeper")
    assert nested == RunModel("nested/deeper", f"runs:/{run_id}/nested/deeper")
    folder = pull(parse_reference(nested.uri), tmp_path / "here")
    assert (folder / "MLmodel").is_file()


@pytest.mark.slow
def test_a_run_without_a_model_has_none(client: Any, run_id: str) -> None:
    client.log_text(run_id, "no model", "readme.txt")
    assert find(client, run_id) == ()


def test_the_only_model_is_chosen() -> None:
    one = RunModel("a", "models:/m-1", "m-1")
    assert choose([one], None) == choose([one], "a") == choose([one], "m-1") == one
    assert choose([], None) is None


def test_several_models_are_listed_with_the_option_that_picks_one() -> None:
    models = [RunModel("a", "models:/m-1", "m-1"), RunModel("b", "models:/m-2", "m-2")]
    with pytest.raises(TrainingError, match=r"a, b; .*--model NAME"):
        choose(models, None)
    assert choose(models, "b") == models[1]
    with pytest.raises(TrainingError, match=r"no model named 'c'.*a, b"):
        choose(models, "c")
