"""`legion predict`: a file of rows in, a file of predictions out."""

from __future__ import annotations

import signal
from typing import Any

import click

from legion import api
from legion.cli import options
from legion.cli.json_output import print_json_line
from legion.cli.progress import TERMINAL
from legion.cli.signals import interrupt_on
from legion.errors import UsageError

_FORMAT = click.Choice(("csv", "jsonl", "parquet", "arrow"))
_MIB = 1024 * 1024


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("-i", "--input", "rows", required=True, metavar="FILE", help="The rows; - for standard input.")
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to write. Default: standard output.")
@click.option("--format", type=_FORMAT, help="Input format. Default: by the file's name.")
@click.option("--output-format", type=_FORMAT, help="Output format. Default: by the file's name.")
@options.env()
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option("--chunk-rows", type=click.IntRange(1), help="Maximum rows in one call of the model.")
@click.option(
    "--chunk-bytes",
    type=click.IntRange(1, 1024 * _MIB),
    default=_MIB,
    show_default=True,
    help="Approximate size of the rows in one call of the model, in bytes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON (needs -o FILE).")
def predict(as_json: bool, **given: Any) -> None:
    """Predict every row of a csv, jsonl, parquet or arrow file, in order and in constant memory.

    The rows are checked like requests: the first one that the model refuses is named and nothing is written.
    """
    if as_json and given["output"] == "-":
        raise UsageError("--json needs standard output for itself; give the predictions a file with -o")
    # So that no temporary file and no worker is left behind.
    interrupt_on(signal.SIGTERM)
    done = api.prediction.predict(**given, progress=TERMINAL)
    if as_json:
        print_json_line(done)
        return
    rate = done.rows / done.predict_seconds if done.predict_seconds else 0.0
    TERMINAL.say(f"{done.rows:,} rows in {done.seconds:.1f} s ({rate:,.0f} rows/s once the model was loaded)")
