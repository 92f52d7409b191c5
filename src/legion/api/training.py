"""`legion.train`: from an MLflow Project to an artifact, and to a registered version."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from legion.api.event_loop import off_the_loop
from legion.api.packing import Packed, packed, packing_bar
from legion.api.progress import LOGGED, Progress
from legion.api.registration import RegisteredVersion, check_names
from legion.api.registration import register as register_artifact
from legion.api.settings import Model, cache_folder, path_of
from legion.errors import TrainingError, UsageError
from legion.toolchain.export import Exported, Wish
from legion.toolchain.job import Job, TrainedRun
from legion.toolchain.models import RunModel
from legion.toolchain.packing import make_from_folder
from legion.toolchain.project import run_project


class Trained(msgspec.Struct, frozen=True):
    """A run that succeeded. `models` are all the models it logged (each with `name` and `uri`), `model` the packed one.

    `model` and `artifact` are None where the run logged no model, `registered` where registering was not asked for.
    """

    run_id: str
    experiment_id: str
    models: tuple[RunModel, ...]
    model: RunModel | None = None
    artifact: Packed | None = None
    registered: RegisteredVersion | None = None


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
    register: str | None = None,
    alias: str | None = None,
    output_to_stderr: bool = False,
    progress: Progress = LOGGED,
) -> Trained:
    """Run an MLflow Project and pack the model it logs. The run is recorded at MLFLOW_TRACKING_URI.

    `project`: a folder or a git URI (with #SUBFOLDER), at `git_version` (branch, tag or commit). `parameters`
    are checked against those that the MLproject declares. `env`: the environment to run in: auto, local, uv, conda
    or docker. `experiment`: the name of the experiment to record the run in. `model`: which model to pack, where the
    run logs several. `output`, `name` and `version` are those of the artifact, as for `pack`. `register`: the name to
    register the artifact under, as `legion.register` does, with `alias` pointed at the version.
    The run prints to this process's output, or to standard error with `output_to_stderr`.

    Raises UsageError for an invalid project or parameters, RefusedError for what cannot be packed or registered,
    OutsideError (TrainingError, EnvironmentBuildError, RegistryError) where the run or what it needs fails.
    """
    if register is not None:
        check_names(register, alias)
    elif alias is not None:
        raise UsageError("an alias points to a registered model; add the name to register it under (--register NAME)")
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
        run = run_project(job, output_to_stderr=output_to_stderr)
        made = _made(run, Wish(name or register, version, path_of(output), env), progress)
    artifact = None if made is None else packed(made)
    registered = None
    if artifact is not None and register is not None:
        registered = register_artifact(artifact, register, alias=alias, env=env, progress=progress)
    return Trained(run.run_id, run.experiment_id, run.models, run.model, artifact, registered)


def _made(run: TrainedRun, wish: Wish, progress: Progress) -> Exported | None:
    """The run's model as an artifact; None where it logged none and none was asked for."""
    if run.folder is None or run.model is None:
        if wish.out is not None or wish.name is not None:
            raise TrainingError(
                f"run {run.run_id} logged no model, so there is nothing to pack; log one in the project"
            )
        return None
    folder, fallback = Path(run.folder), run.project or run.model.name
    return off_the_loop(
        lambda: make_from_folder(
            folder,
            wish,
            fallback_name=fallback,
            cache=cache_folder(),
            say=progress.say,
            packing=packing_bar(progress),
        )
    )
