"""The models that a run left behind, in MLflow 3's layout (logged models) and in the older one (artifacts)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from legion.errors import TrainingError

# How deep below a run's artifacts a model may lie in the older layout.
_DEPTH = 4


class RunModel(msgspec.Struct, frozen=True):
    """A model of a run: `uri` is what MLflow loads it by, `model_id` None in the older layout."""

    name: str
    uri: str
    model_id: str | None = None


def find(client: Any, run_id: str) -> tuple[RunModel, ...]:
    """The run's models, newest first; a name that was logged several times stands for its newest."""
    run = client.get_run(run_id)
    logged = {}
    if run.outputs is not None:
        for output in run.outputs.model_outputs:
            logged[output.model_id] = client.get_logged_model(output.model_id)
    by_source = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'")
    logged |= {model.model_id: model for model in by_source}
    ready = [model for model in logged.values() if str(model.status) == "READY"]
    newest: dict[str, RunModel] = {}
    for model in sorted(ready, key=lambda model: (model.creation_timestamp, model.model_id), reverse=True):
        newest.setdefault(model.name, RunModel(model.name, f"models:/{model.model_id}", model.model_id))
    found = list(newest.values())
    return tuple(found) if found else tuple(_in_artifacts(client, run_id, None, _DEPTH))


def _in_artifacts(client: Any, run_id: str, folder: str | None, depth: int) -> list[RunModel]:
    entries = client.list_artifacts(run_id, folder)
    if folder is not None and any(entry.path == f"{folder}/MLmodel" for entry in entries):
        return [RunModel(folder, f"runs:/{run_id}/{folder}")]
    if depth == 0:
        return []
    return [
        model for entry in entries if entry.is_dir for model in _in_artifacts(client, run_id, entry.path, depth - 1)
    ]


def choose(models: Sequence[RunModel], wanted: str | None) -> RunModel | None:
    """The model named `wanted` (or with that id); without a wish, the only one, or None where there is none.

    Raises TrainingError with the list where the wish is not among them, or is needed and missing.
    """
    listed = ", ".join(model.name for model in models)
    if wanted is not None:
        for model in models:
            if wanted in (model.name, model.model_id):
                return model
        raise TrainingError(f"the run logged no model named {wanted!r}; it logged: {listed or 'none'}")
    if len(models) > 1:
        raise TrainingError(f"the run logged {len(models)} models, {listed}; choose one with --model NAME")
    return models[0] if models else None
