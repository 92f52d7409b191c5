"""`legion.train`: from an MLflow Project to an artifact."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from legion.api.artifacts import Packed, packed
from legion.api.event_loop import off_the_loop
from legion.api.settings import Model, cache_folder, path_of, say
from legion.errors import TrainingError
from legion.toolchain.export import Wish
from legion.toolchain.job import Job
from legion.toolchain.packing import make_from_folder
from legion.toolchain.project import run_project


class Trained(msgspec.Struct, frozen=True):
    """A run that succeeded. `models` are the URIs of all the models it logged; `artifact` is the packed one.

    `artifact` is None where the run logged no model.
    """

    run_id: str
    experiment_id: str
    models: tuple[str, ...]
    artifact: Packed | None


def train(
    project: Model,
    parameters: Mapping[str, Any] | None = None,
    output: str | PathLike[str] | None = None,
    *,
    entry_point: str = "main",
    env: str = "auto",
    git_version: str | None = None,
    experiment: str | None = None,
    model: str | None = None,
    name: str | None = None,
    version: str | None = None,
) -> Trained:
    """Run an MLflow Project and pack the model it logs. The run is recorded where MLFLOW_TRACKING_URI says.

    `project`: a folder or a git URI (with #SUBFOLDER), at `git_version` (branch, tag or commit). `parameters`
    are checked against those the MLproject declares. `env`: where it runs: auto, local or uv. `model` chooses
    among several logged ones. `output`, `name` and `version` are those of the artifact, as for `pack`.

    Raises UsageError for a project or parameters that cannot be, RefusedError for what cannot be packed,
    OutsideError (TrainingError, EnvironmentBuildError, RegistryError) where the run or its surroundings fail.
    """
    with tempfile.TemporaryDirectory(prefix="legion-train-") as scratch:
        job = Job(
            source=os.fspath(project),
            entry_point=entry_point,
            parameters={key: str(value) for key, value in (parameters or {}).items()},
            env=env,
            cache=str(cache_folder()),
            into=scratch,
            version=git_version,
            experiment=experiment,
            model=model,
        )
        run = run_project(job)
        made = None
        if run.folder is not None and run.model is not None:
            folder, wish = Path(run.folder), Wish(name, version, path_of(output), env)
            fallback = run.project or run.model.name
            made = off_the_loop(
                lambda: make_from_folder(folder, wish, fallback_name=fallback, cache=cache_folder(), say=say)
            )
        elif output is not None or name is not None:
            raise TrainingError(
                f"run {run.run_id} logged no model, so there is nothing to pack; log one in the project"
            )
    uris = tuple(logged.uri for logged in run.models)
    return Trained(run.run_id, run.experiment_id, uris, None if made is None else packed(made))
