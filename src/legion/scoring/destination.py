"""Where the predictions go: a file that appears whole or not at all, or standard output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from legion.disk.durable import new_file
from legion.errors import OutsideError, UsageError

_STDOUT = 1


@contextmanager
def destination(path: Path | None) -> Iterator[BinaryIO]:
    """A stream to write to; None is standard output.

    A regular file gets its name only when the block ends without an error; pipes and devices are written as
    they are. Raises UsageError where the file cannot be made and OutsideError where writing it fails.
    """
    target = "standard output" if path is None else str(path)
    opened = False
    try:
        with _stream(path) as stream:
            opened = True
            yield stream
    except BrokenPipeError:
        # Whoever read standard output has had enough; the border knows that this is no fault.
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if not opened:
            raise UsageError(f"cannot write {target}: {reason}; choose another place with -o") from error
        raise OutsideError(f"writing {target} failed: {reason}; make room and run it again") from error


def is_pipe(path: Path | None) -> bool:
    """Whether the output is standard output, a pipe or a device, which cannot be taken back."""
    return path is None or (path.exists() and not path.is_file())


def _stream(path: Path | None) -> AbstractContextManager[BinaryIO]:
    if path is None:
        return open(_STDOUT, "wb", closefd=False)
    if is_pipe(path):
        return path.open("wb")
    # Through a link to the file it names, so that the link itself survives.
    return new_file(path.resolve())
