"""Batch prediction: the walk from a file of rows to a file of predictions.

source ─▶ reader ─chunks▶ worker_pool ─replies▶ answers ─rows▶ writer ─▶ destination
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from legion.scoring import formats
from legion.scoring.answers import predictions_of
from legion.scoring.chunk import Limits
from legion.scoring.destination import destination, is_pipe
from legion.scoring.source import checked, source
from legion.scoring.worker_pool import worker_pool
from legion.wire import Plan, Report


class Job(msgspec.Struct, frozen=True):
    """What is to be predicted. `input` and `output` are None for standard input and output."""

    input: Path | None
    output: Path | None
    input_format: str
    output_format: str
    workers: int = 1
    limits: Limits = Limits()
    start_timeout: float = 120.0

    @property
    def name(self) -> str:
        """What errors call the input."""
        return "standard input" if self.input is None else str(self.input)


class Summary(msgspec.Struct, frozen=True):
    """What was done: rows, seconds in all and from the first row on, and the way the predictions took."""

    rows: int
    seconds: float
    predict_seconds: float
    path: str


def score(
    job: Job, plan: Plan, python: Path, *, advance: Callable[[int], None], started: Callable[[Report], None]
) -> Summary:
    """Predict every row of the input, in its order.

    `started` is told what the workers report before the first row; `advance` how much of the input is done:
    rows for Parquet, bytes for the others.
    Raises RefusedError at the first row that the model refuses, UsageError where the input or output cannot
    be opened, OutsideError where the disk or a worker fails. A file is not written at all, or whole.
    """
    begin = time.perf_counter()
    done = 0
    with source(job.input) as rows_in, destination(job.output) as rows_out:
        read = formats.reader(job.input_format)
        writer = formats.writer(job.output_format, rows_out, pipe=is_pipe(job.output))
        with worker_pool(plan, python, job.workers, start_timeout=job.start_timeout) as workers:
            started(workers.report)
            first = time.perf_counter()
            if workers.report.mode == "whole":
                read = formats.reader(job.input_format, whole=True)
            chunks = checked(read(rows_in, job.limits, job.name), job.name)
            for chunk, reply in workers.answers(chunks):
                predictions = predictions_of(reply, chunk, done, job.name)
                writer.write(predictions)
                done += predictions.rows
                advance(chunk.size)
            path = workers.report.path
        writer.finish()
    end = time.perf_counter()
    return Summary(done, end - begin, end - first, path)
