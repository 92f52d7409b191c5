"""`legion.predict`: rows in memory or in a file, by a model that nothing serves."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from legion.api.event_loop import off_the_loop
from legion.api.progress import LOGGED, Progress
from legion.api.settings import Model, cache_folder
from legion.client import rows as forms
from legion.client.failures import failure
from legion.errors import UsageError, WorkerError
from legion.provision.resolve import Resolved, resolve
from legion.scoring import formats
from legion.scoring.chunk import MIB, Chunk, Limits
from legion.scoring.pipeline import Job, Summary, score
from legion.scoring.source import size_of
from legion.scoring.worker_pool import worker_pool
from legion.wire import MLFLOW, Call, Plan, Report

# Seconds. What `legion serve` gives a model to start.
_START_TIMEOUT = 300.0
_STANDARD = "-"


class Predicted(Summary, frozen=True):
    """What was done: `rows`, `seconds` in all and `predict_seconds` from the first row on, the worker's `path`
    (lowered, native, reference, gppi …), and the `output` file with its `format`; None for standard output."""

    output: Path | None = None
    format: str = ""


def predict(
    model: Model,
    rows: Any,
    output: str | PathLike[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    params: Mapping[str, Any] | None = None,
    env: str = "auto",
    workers: int = 1,
    format: str | None = None,  # noqa: A002 (as the command line calls it)
    output_format: str | None = None,
    chunk_rows: int | None = None,
    chunk_bytes: int = MIB,
    progress: Progress = LOGGED,
) -> Any:
    """Predict n rows with a model in an environment and process of its own, which ends afterwards.

    `model`: an artifact, a model folder, `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/ID/PATH`.
    `rows`: in memory as for `Client.predict` (a DataFrame, a list of n dicts, n lists with `columns` …), with
    `params` for the call; or the path of a csv, jsonl, parquet or arrow file, `"-"` for standard input, which is read
    in constant memory. `env`: auto, local, uv, conda or docker.

    Returns the predictions, for most models a list of n. With `output`, a file or `"-"` for standard output, they
    are written there instead, completely or not at all, and the result has `rows`, `seconds` and `path`.

    For files: `workers` is the number of model processes. `format` and `output_format` (csv, jsonl, parquet, arrow)
    are needed where a file's name does not tell. One call of the model gets about `chunk_bytes` bytes, and at most
    `chunk_rows` rows.

    Raises RefusedError for the first row that the model refuses, by row and column, UsageError for rows that
    cannot be read, OutsideError where the model fails.
    """
    if isinstance(rows, (str, PathLike)):
        if columns is not None or params is not None:
            raise UsageError("columns= and params= are for rows in memory; a file has its own columns")
        if output is None and output_format is not None:
            raise UsageError("output_format= is for a file; add output=, or leave it out to have a list returned")
        limits = Limits(chunk_bytes, chunk_rows, max(Limits().record, chunk_bytes))
        with tempfile.TemporaryDirectory(prefix="legion-predict-") as scratch:
            returned = Path(scratch) / "predictions.jsonl"
            job = _job(_path(rows), returned if output is None else _path(output), format, output_format)
            job = msgspec.structs.replace(job, workers=workers, limits=limits)
            summary = _of_file(os.fspath(model), job, env, progress)
            return summary if output is not None else _lines(returned)
    if output is not None:
        raise UsageError("output= is for rows in a file; predictions of rows in memory are returned")
    body = forms.body(rows, columns, params)
    found = _resolved(os.fspath(model), env, progress)
    return _of_body(body, found.plan, found.python)


def _path(place: str | PathLike[str]) -> Path | None:
    return None if place == _STANDARD else Path(place).expanduser()


def _job(source: Path | None, target: Path | None, form: str | None, output_form: str | None) -> Job:
    read_as = formats.input_format(source, form)
    write_as = formats.output_format(target, output_form, read_as)
    if target is None and formats.FORMATS[write_as].binary and sys.stdout.isatty():
        raise UsageError(f"{write_as} cannot be shown on a terminal; give a file with -o, or a pipe")
    if source is not None and not source.exists():
        raise UsageError(f"there is no file {source}; check its path")
    return Job(source, target, read_as, write_as, start_timeout=_START_TIMEOUT)


def _resolved(model: str, env: str, progress: Progress) -> Resolved:
    # A plain MLflow model is packed first, which asks it for its golden answers.
    return off_the_loop(lambda: resolve(model, env=env, cache=cache_folder(), say=progress.say))


def _of_body(body: bytes, plan: Plan, python: Path) -> Any:
    with worker_pool(plan, python, 1, start_timeout=_START_TIMEOUT) as started:
        ((_, reply),) = started.answers([Chunk(Call(MLFLOW, body), 1, len(body))])
    if reply.status >= 500:
        raise WorkerError(f"{plan.name} {plan.version} failed while it was predicting; see its messages above")
    if reply.status != 200:
        raise failure(reply.status, reply.body, plan.name, rows=True)
    return msgspec.json.decode(reply.body)["predictions"]


def _of_file(model: str, job: Job, env: str, progress: Progress) -> Predicted:
    found = _resolved(model, env, progress)
    by_rows = formats.FORMATS[job.input_format].counts_rows
    total, unit = (None, "rows") if by_rows else (size_of(job.input), "bytes")

    def started(report: Report) -> None:
        for line in _remarks(found.plan, report):
            progress.say(line)

    with progress.bar(f"predicting {job.name}", total, unit) as advance:
        done = score(job, found.plan, found.python, advance=advance, started=started)
    return Predicted(**msgspec.structs.asdict(done), output=job.output, format=job.output_format)


def _remarks(plan: Plan, report: Report) -> list[str]:
    lines = [f"{plan.name} {plan.version} is ready ({report.path} path, Python {report.python_version})", *report.notes]
    if not report.merges:
        lines.append("this model is not proven to answer row by row; it is called with a chunk of rows at a time")
    return lines


def _lines(file: Path) -> list[Any]:
    with file.open("rb") as lines:
        return [msgspec.json.decode(line)["prediction"] for line in lines]
