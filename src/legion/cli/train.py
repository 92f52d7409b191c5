"""`legion train`: run an MLflow Project, pack the model it makes and, on request, register it."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from types import FrameType

import click
import msgspec

from legion.cli import pack, progress, register
from legion.cli.settings import cache_folder
from legion.errors import TrainingError, UsageError
from legion.registry.store import RegisteredVersion, push
from legion.toolchain.export import Exported, Wish
from legion.toolchain.job import Job, TrainedRun
from legion.toolchain.packing import make_from_folder
from legion.toolchain.parameters import read_assignments
from legion.toolchain.project import run_project


@click.command()
@click.argument("project")
@click.option("-e", "--entry-point", default="main", show_default=True, help="The MLproject's entry point.")
@click.option("-P", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; may be repeated.")
@click.option("--env", default="auto", show_default=True, help="Where it runs: auto, local, uv, conda or docker.")
@click.option("--git-version", help="Branch, tag or commit of a git project.")
@click.option("--experiment-name", help="The experiment to record the run in.")
@click.option("--model", help="Which of the run's models, where it logs several.")
@click.option("--name", help="The artifact's name; else the project's.")
@click.option("--version", help="Its version, such as 1.0.0-rc1; else one from the model's id.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file, or a folder for NAME-VERSION.zip.")
@click.option("--register", "registered_name", metavar="NAME", help="Register the artifact under this name.")
@click.option("--alias", help="Point this alias at the registered version.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; the run's output goes to stderr.")
def train(
    project: str,
    entry_point: str,
    params: tuple[str, ...],
    env: str,
    git_version: str | None,
    experiment_name: str | None,
    model: str | None,
    name: str | None,
    version: str | None,
    output: Path | None,
    registered_name: str | None,
    alias: str | None,
    as_json: bool,
) -> None:
    """Run PROJECT, a folder or a git URI (with #SUBFOLDER), and pack the model it logs."""
    if alias and not registered_name:
        raise UsageError("--alias belongs to a registered model; add --register NAME")
    parameters = read_assignments(params)
    # What ends this process from outside ends the project too, the way an interrupt does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with tempfile.TemporaryDirectory(prefix="legion-train-") as scratch:
        job = Job(
            source=project,
            entry_point=entry_point,
            parameters=parameters,
            env=env,
            cache=str(cache_folder()),
            into=scratch,
            version=git_version,
            experiment=experiment_name,
            model=model,
        )
        run = run_project(job, output_to_stderr=as_json)
        made = _pack(run, Wish(name or registered_name, version, output, env))
    registered = push(made.path, registered_name, alias=alias) if made and registered_name else None
    (_print_json if as_json else _print)(run, made, registered, alias)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _pack(run: TrainedRun, wish: Wish) -> Exported | None:
    """The run's model as an artifact; None where it logged none and none was asked for."""
    if run.folder is None or run.model is None:
        if wish.out is not None or wish.name is not None:
            raise TrainingError(
                f"run {run.run_id} logged no model, so there is nothing to pack; log one in the project"
            )
        return None
    return make_from_folder(
        Path(run.folder),
        wish,
        fallback_name=run.project or run.model.name,
        cache=cache_folder(),
        say=progress.say,
        packing=lambda total: progress.bar("packing", total),
    )


def _print(run: TrainedRun, made: Exported | None, registered: RegisteredVersion | None, alias: str | None) -> None:
    if made is None:
        click.echo(f"run {run.run_id} is done; it logged no model, so nothing was packed")
        return
    click.echo(f"run {run.run_id} logged {run.model.name if run.model else 'a model'}")
    pack.show(made)
    if registered is None:
        click.echo(f"next: legion serve {made.path}")
    else:
        register.show(registered)
        click.echo(f"next: legion serve {register.uri(registered, alias)}")


def _print_json(
    run: TrainedRun, made: Exported | None, registered: RegisteredVersion | None, alias: str | None
) -> None:
    result = {
        "run_id": run.run_id,
        "experiment_id": run.experiment_id,
        "models": run.models,
        "artifact": None if made is None else pack.describe(made),
        "registered": registered,
    }
    click.echo(msgspec.json.encode(result))
