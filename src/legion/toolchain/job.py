"""What the process that runs a project is told, and what it answers: one JSON line each way on a socket."""

from __future__ import annotations

import msgspec

from legion.toolchain.models import RunModel


class Job(msgspec.Struct, frozen=True):
    """A project to run. `model` chooses among several; the chosen one is copied into the folder `into`."""

    source: str
    entry_point: str
    parameters: dict[str, str]
    env: str
    cache: str
    into: str
    version: str | None = None
    experiment: str | None = None
    model: str | None = None


class TrainedRun(msgspec.Struct, frozen=True):
    """A run that succeeded. `models` holds all it logged, `model` the chosen one, copied to `folder`.

    `model` and `folder` are None where the run logged no model.
    """

    run_id: str
    experiment_id: str
    project: str | None = None
    models: tuple[RunModel, ...] = ()
    model: RunModel | None = None
    folder: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """Either the run, or the kind and the sentence of the error."""

    run: TrainedRun | None = None
    kind: str = ""
    message: str = ""
