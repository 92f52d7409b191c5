"""The formats, in one table: how each is named, read and written."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from legion.errors import UsageError
from legion.scoring.chunk import Chunk, Limits
from legion.scoring.predictions import Predictions

Reader = Callable[[BinaryIO, Limits, str], Iterator[Chunk]]


class Writer(Protocol):
    """Takes predictions in the order of the rows; `finish` closes the format, not the stream."""

    def write(self, predictions: Predictions) -> None: ...

    def finish(self) -> None: ...


class Format(msgspec.Struct, frozen=True):
    """Readers and writers are `module:attribute`, imported when used.

    `whole_reader` is for models that read requests whole, `pipe_writer` for pipes, where they need another.
    """

    suffixes: tuple[str, ...]
    reader: str
    writer: str
    whole_reader: str | None = None
    pipe_writer: str | None = None
    binary: bool = False
    counts_rows: bool = False


FORMATS: dict[str, Format] = {
    "csv": Format((".csv",), "read_csv:read_csv", "write_csv:CsvWriter"),
    "jsonl": Format((".jsonl", ".ndjson"), "read_jsonl:read_jsonl", "write_jsonl:JsonLinesWriter"),
    "parquet": Format(
        (".parquet", ".pq"),
        "read_arrow:read_parquet",
        "write_arrow:ParquetWriter",
        "read_arrow:read_parquet_whole",
        binary=True,
        counts_rows=True,
    ),
    "arrow": Format(
        (".arrow", ".arrows", ".feather", ".ipc"),
        "read_arrow:read_arrow",
        "write_arrow:ArrowWriter",
        "read_arrow:read_arrow_whole",
        "write_arrow:ArrowStreamWriter",
        binary=True,
    ),
}


def input_format(path: Path | None, chosen: str | None) -> str:
    """What was chosen, else what the input's name says. Raises UsageError where it says nothing."""
    found = chosen or _by_suffix(path)
    if found is None:
        what = "standard input has no name" if path is None else f"the name of {path} does not say its format"
        raise UsageError(f"{what}; add --format csv, jsonl, parquet or arrow")
    return found


def output_format(path: Path | None, chosen: str | None, source: str) -> str:
    """What was chosen, else what the output's name says, else text like the input's."""
    return chosen or _by_suffix(path) or ("jsonl" if source == "jsonl" else "csv")


def reader(name: str, *, whole: bool = False) -> Reader:
    """The function that reads a format. Raises MissingExtraError where its library is not installed."""
    entry = FORMATS[name]
    found: Reader = _load(entry.whole_reader if whole and entry.whole_reader else entry.reader)
    return found


def writer(name: str, stream: BinaryIO, *, pipe: bool) -> Writer:
    """A writer of a format. Raises MissingExtraError where its library is not installed."""
    entry = FORMATS[name]
    made: Writer = _load(entry.pipe_writer if pipe and entry.pipe_writer else entry.writer)(stream)
    return made


def _by_suffix(path: Path | None) -> str | None:
    suffix = "" if path is None else path.suffix.lower()
    return next((name for name, entry in FORMATS.items() if suffix in entry.suffixes), None)


def _load(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
