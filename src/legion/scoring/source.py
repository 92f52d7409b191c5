"""Where the rows come from: a file, or standard input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from legion.errors import OutsideError, UsageError
from legion.scoring.chunk import Chunk

_STDIN = 0


@contextmanager
def source(path: Path | None) -> Iterator[BinaryIO]:
    """A buffered stream to read from; None is standard input.

    Raises UsageError where the file cannot be opened.
    """
    if path is None:
        with open(_STDIN, "rb", closefd=False) as stream:
            yield stream
        return
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; check the path given with -i") from error
    with stream:
        yield stream


def size_of(path: Path | None) -> int | None:
    """The bytes of a regular file; None for anything else."""
    return path.stat().st_size if path is not None and path.is_file() else None


def checked(chunks: Iterator[Chunk], name: str) -> Iterator[Chunk]:
    """The same chunks. Raises OutsideError where reading the input fails half-way."""
    try:
        yield from chunks
    except OSError as error:
        raise OutsideError(f"reading {name} failed: {error.strerror or error}; check its disk") from error
