"""`legion.predict`: rows in memory or in a file, by a model that nothing serves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from legion.api.event_loop import off_the_loop
from legion.api.settings import Model, cache_folder, say
from legion.client import rows as forms
from legion.client.failures import failure
from legion.errors import UsageError, WorkerError
from legion.provision.resolve import Resolved, resolve
from legion.scoring import formats
from legion.scoring.chunk import Chunk
from legion.scoring.pipeline import Job, Summary, score
from legion.scoring.worker_pool import worker_pool
from legion.wire import MLFLOW, Call, Plan

_START_TIMEOUT = 300.0


def predict(
    model: Model,
    rows: Any,
    output: str | PathLike[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    params: Mapping[str, Any] | None = None,
    env: str = "auto",
    workers: int = 1,
) -> Any:
    """Predict n rows with a model in an environment and process of its own, which ends afterwards.

    `model`: an artifact, a model folder, `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/ID/PATH`.
    `rows`: in memory as for `Client.predict` (a DataFrame, a list of n dicts, n lists with `columns` …), with
    `params` for the call; or the path of a csv, jsonl, parquet or arrow file, read in constant memory by
    `workers` processes.

    Returns the predictions, for most models a list of n. With `output`, a file in one of the same formats, they
    are written there instead, whole or not at all, and the result says `rows`, `seconds` and `path`.

    Raises RefusedError for the first row that the model refuses, by row and column, UsageError for rows that
    cannot be read, OutsideError where the model fails.
    """
    if isinstance(rows, (str, PathLike)):
        if columns is not None or params is not None:
            raise UsageError("columns= and params= are for rows in memory; a file says its own columns")
        return _of_file(os.fspath(model), Path(rows).expanduser(), output, env, workers)
    if output is not None:
        raise UsageError("output= is for rows in a file; rows in memory have their predictions returned")
    body = forms.body(rows, columns, params)
    found = _resolved(os.fspath(model), env)
    return _of_body(body, found.plan, found.python)


def _resolved(model: str, env: str) -> Resolved:
    # A plain MLflow model is packed first, which asks it for its golden answers.
    return off_the_loop(lambda: resolve(model, env=env, cache=cache_folder(), say=say))


def _of_body(body: bytes, plan: Plan, python: Path) -> Any:
    with worker_pool(plan, python, 1, start_timeout=_START_TIMEOUT) as started:
        ((_, reply),) = started.answers([Chunk(Call(MLFLOW, body), 1, len(body))])
    if reply.status >= 500:
        raise WorkerError(f"{plan.name} {plan.version} failed while it was predicting; see its messages above")
    if reply.status != 200:
        raise failure(reply.status, reply.body, plan.name, rows=True)
    return msgspec.json.decode(reply.body)["predictions"]


def _of_file(model: str, source: Path, output: str | PathLike[str] | None, env: str, workers: int) -> Any:
    read_as = formats.input_format(source, None)
    if not source.exists():
        raise UsageError(f"there is no file {source}; check its path")
    with tempfile.TemporaryDirectory(prefix="legion-predict-") as scratch:
        target = Path(scratch) / "predictions.jsonl" if output is None else Path(output).expanduser()
        job = Job(source, target, read_as, formats.output_format(target, None, read_as), workers)
        found = _resolved(model, env)
        summary: Summary = score(
            job, found.plan, found.python, advance=lambda amount: None, started=lambda report: None
        )
        if output is not None:
            return summary
        with target.open("rb") as lines:
            return [msgspec.json.decode(line)["prediction"] for line in lines]
