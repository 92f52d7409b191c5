"""Where the predictions go: a file that appears whole or not at all, or standard output."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from legion.errors import OutsideError, UsageError

_STDOUT = 1


@contextmanager
def destination(path: Path | None) -> Iterator[BinaryIO]:
    """A stream to write to; None is standard output.

    A regular file gets its name only when the block ends without an error; pipes and devices are written as
    they are. Raises UsageError where the file cannot be made and OutsideError where writing it fails.
    """
    try:
        if path is None:
            with open(_STDOUT, "wb", closefd=False) as stream:
                yield stream
        elif path.exists() and not path.is_file():
            with _opened(path) as stream:
                yield stream
        else:
            # Through a link to the file it names, so that the link itself survives.
            with _whole(path.resolve()) as stream:
                yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        target = "standard output" if path is None else path
        reason = error.strerror or str(error)
        raise OutsideError(f"writing {target} failed: {reason}; make room and run it again") from error


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise _cannot(path, error) from error
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(number, _mode(path))
            os.fsync(number)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise _cannot(path, error) from error


def _cannot(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write {path}: {error.strerror}; choose another place with -o")


def _mode(path: Path) -> int:
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
