"""`legion predict`: a file of rows in, a file of predictions out."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType

import click
import msgspec

from legion.cli import model, settings
from legion.cli.progress import bar, say
from legion.errors import UsageError
from legion.scoring import formats
from legion.scoring.chunk import MIB, Limits
from legion.scoring.pipeline import Job, Summary, score
from legion.scoring.source import size_of
from legion.wire import Plan, Report

_FORMATS = click.Choice(tuple(formats.FORMATS))


@click.command()
@click.argument("reference", metavar="MODEL")
@click.option("-i", "--input", "source", required=True, help="The rows: a file, or - for standard input.")
@click.option("-o", "--output", default="-", help="Where the predictions go; standard output if left out.")
@click.option("--format", "form", type=_FORMATS, help="The input's format; else what its name says.")
@click.option("--output-format", type=_FORMATS, help="The output's format; else what its name says.")
@click.option("--env", type=click.Choice(("auto", "local", "uv", "conda", "docker")), default="auto", show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Model processes.")
@click.option("--chunk-rows", type=click.IntRange(1), help="At most so many rows in one call of the model.")
@click.option("--chunk-bytes", type=click.IntRange(1, 1024 * MIB), default=MIB, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON (needs -o FILE).")
def predict(
    reference: str,
    source: str,
    output: str,
    form: str | None,
    output_format: str | None,
    env: str,
    workers: int,
    chunk_rows: int | None,
    chunk_bytes: int,
    as_json: bool,
) -> None:
    """Predict every row of a csv, jsonl, parquet or arrow file, in order and in constant memory.

    The rows are checked like requests: the first one that the model refuses is named and nothing is written.
    """
    came_from, goes_to = _path(source), _path(output)
    read_as = formats.input_format(came_from, form)
    write_as = formats.output_format(goes_to, output_format, read_as)
    _check_output(goes_to, write_as, as_json)
    limits = Limits(chunk_bytes, chunk_rows, max(Limits().record, chunk_bytes))
    job = Job(came_from, goes_to, read_as, write_as, workers, limits)
    if came_from is not None and not came_from.exists():
        raise UsageError(f"there is no file {came_from}; check the path given with -i")
    _end_like_an_interrupt()
    found = model.resolve(reference, env=env, cache=settings.cache_folder(), say=say)
    rows = formats.FORMATS[read_as].counts_rows
    label = f"predicting {job.name}"
    with bar(label, None if rows else size_of(came_from), "rows" if rows else "bytes") as advance:
        summary = score(job, found.plan, found.python, advance=advance, started=partial(_started, found.plan))
    _report(summary, job, as_json)


def _path(text: str) -> Path | None:
    return None if text == "-" else Path(text).expanduser()


def _check_output(path: Path | None, form: str, as_json: bool) -> None:
    if path is not None:
        return
    if as_json:
        raise UsageError("--json needs standard output for itself; give the predictions a file with -o")
    if formats.FORMATS[form].binary and sys.stdout.isatty():
        raise UsageError(f"{form} is no text for a terminal; give a file with -o, or a pipe")


def _end_like_an_interrupt() -> None:
    """Let SIGTERM unwind like Ctrl-C, so that no temporary file and no worker stays."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def _started(plan: Plan, report: Report) -> None:
    say(f"{plan.name} {plan.version} is ready ({report.path} path, Python {report.python_version})")
    for note in report.notes:
        say(note)
    if not report.merges:
        say("this model is not proven to answer row by row; it is called with a chunk of rows at a time")


def _report(summary: Summary, job: Job, as_json: bool) -> None:
    if as_json:
        done = {**msgspec.structs.asdict(summary), "output": str(job.output), "format": job.output_format}
        click.echo(msgspec.json.encode(done))
        return
    rate = summary.rows / summary.predict_seconds if summary.predict_seconds else 0.0
    say(f"{summary.rows:,} rows in {summary.seconds:.1f} s ({rate:,.0f} rows/s once the model was loaded)")
