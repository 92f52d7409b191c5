"""The walk of a training: fetch the project, check the parameters, get the environment, run, find the model.

It runs inside the process that launch.py is; the one place that calls `mlflow.projects`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from legion.environment.interpreter import interpreter
from legion.environment.spec import EnvironmentSpec, read_spec
from legion.errors import TrainingError, UsageError
from legion.reference import parse as parse_reference
from legion.registry.client import answering, connect
from legion.registry.store import pull
from legion.toolchain import models, parameters
from legion.toolchain.cancellation import interrupted_only_while_waiting
from legion.toolchain.checkout import checked_out
from legion.toolchain.docker_project import backend_for, image_for
from legion.toolchain.job import Job, TrainedRun

Say = Callable[[str], None]


def train(job: Job, say: Say) -> TrainedRun:
    """Run the job's entry point and fetch the model it logged; the run's output goes to the terminal.

    Raises UsageError, EnvironmentRefused, EnvironmentBuildError, TrainingError, RegistryError.
    """
    with checked_out(job.source, job.version) as folder:
        project = _load_project(folder, job)
        if project.docker_env and job.env in ("auto", "docker"):
            image = image_for(project.docker_env, os.environ, say)
            client = connect()
            with interrupted_only_while_waiting(backend_for(image)):
                run_id = _run(folder, job)
        else:
            python = interpreter(_spec(project, folder, job.env), job.env, cache=Path(job.cache), say=say)
            client = connect()
            with _first_on_path(python), interrupted_only_while_waiting():
                run_id = _run(folder, job)
    with answering(f"the models of run {run_id} cannot be listed"):
        found = models.find(client, run_id)
        experiment_id = str(client.get_run(run_id).info.experiment_id)
    chosen = models.choose(found, job.model)
    into = None if chosen is None else pull(parse_reference(chosen.uri), Path(job.into))
    return TrainedRun(run_id, experiment_id, project.name, found, chosen, folder=None if into is None else str(into))


def _load_project(folder: Path, job: Job) -> Any:
    """MLflow's reading of the MLproject file, its entry point and parameters checked."""
    from mlflow.projects import load_project  # noqa: PLC0415

    try:
        project = load_project(str(folder))
        entry_point = project.get_entry_point(job.entry_point)
    # MLflow does not check the file's structure: a wrong one raises whatever it happens to raise.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"{job.source} cannot be run as a project ({reason}); correct its MLproject file or -e"
        ) from None
    # An entry point that is only a script's name declares nothing, and takes what it is given.
    if job.entry_point in (project._entry_points or {}):
        parameters.check(job.parameters, entry_point.parameters, job.entry_point)
        parameters.check_quoting(job.parameters, entry_point.parameters, entry_point.command)
    return project


def _spec(project: Any, folder: Path, env: str) -> EnvironmentSpec:
    if project.docker_env:
        raise UsageError(f"the project runs in an image, so --env {env} cannot give its environment; use auto")
    if env == "docker":
        raise UsageError("the project's MLproject has no docker_env; use another --env than docker")
    if env == "local" or project.env_config_path is None:
        return EnvironmentSpec()
    return read_spec(folder, os.path.relpath(project.env_config_path, folder))


@contextmanager
def _first_on_path(python: Path) -> Iterator[None]:
    """Let `python` in the entry point's command be this interpreter, as an activated environment would."""
    before = dict(os.environ)
    os.environ["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    if python != Path(sys.executable):
        prefix = python.parent.parent
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            os.environ.pop(name, None)
        os.environ["CONDA_PREFIX" if (prefix / "conda-meta").is_dir() else "VIRTUAL_ENV"] = str(prefix)
        os.environ.pop("PYTHONHOME", None)
        os.environ.pop("PYTHONPATH", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(folder: Path, job: Job) -> str:
    """Run the entry point through MLflow and return the run's id."""
    from mlflow.exceptions import ExecutionException  # noqa: PLC0415
    from mlflow.projects import run  # noqa: PLC0415

    try:
        with answering("the run cannot be recorded"):
            try:
                submitted = run(
                    str(folder),
                    entry_point=job.entry_point,
                    parameters=job.parameters,
                    experiment_name=job.experiment,
                    env_manager="local",
                )
            except ExecutionException as error:
                raise TrainingError(f"{error}; see its output above") from None
    finally:
        sys.stdout.flush()
    return str(submitted.run_id)
