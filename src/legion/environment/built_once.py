"""A folder in the cache that is made by one process at a time, and is complete or not there.

Environments hold absolute paths, so they are not built aside and renamed: they are built where they stay, under
a lock, and count only once their marker file is there, which is written last. What a killed builder left has no
marker; the next builder removes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from legion.disk import durable
from legion.disk.cache import Hold, Note, claim, hold, keep
from legion.disk.lock import held
from legion.disk.sizes import size_of
from legion.environment.uv_command import Say
from legion.errors import EnvironmentBuildError


class Built(msgspec.Struct, frozen=True):
    """What a builder made: the content of the marker file, and a few words on what it is."""

    marker: bytes
    what: str


def built_once(folder: Path, marker: str, build: Callable[[int], Built], say: Say) -> Path:
    """The interpreter `bin/python` of the environment in `folder`; made by `build` if it is not there.

    `build` fills the folder; it is given the lock's descriptor, which its subprocesses should inherit, so that the
    next builder waits for them too. A failed build leaves nothing. What is returned is kept (disk/cache.py) for
    this process. Raises what `build` raises, and EnvironmentBuildError where the folder cannot be written.
    """
    try:
        with claim(folder) as claimed:
            python = ready(folder, marker)
            if python is None:
                python = _built(folder, marker, build, claimed, say)
            else:
                say(f"environment {folder.name[:12]} is ready")
            keep(hold(folder))
            return python
    except OSError as error:
        raise EnvironmentBuildError(
            f"the environment could not be made in {folder.parent} ({error.strerror or error}); give the "
            f"cache folder space and write permission, or set LEGION_CACHE to another"
        ) from error


def _built(folder: Path, marker: str, build: Callable[[int], Built], claimed: Hold, say: Say) -> Path:
    name = folder.name[:12]
    waiting = f"environment {name} is being made by another process; waiting for it"
    with held(folder.with_suffix(".lock"), lambda: say(waiting)) as lock:
        if python := ready(folder, marker):
            say(f"environment {name} is ready")
            return python
        if folder.exists():
            say(f"environment {name} is unfinished or has lost its Python; making it again")
            shutil.rmtree(folder)
        try:
            built = build(lock)
            with durable.new_file(folder / marker) as file:
                file.write(built.marker)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        claimed.note(Note(size_of(folder), built.what))
        return folder / "bin" / "python"


def ready(folder: Path, marker: str) -> Path | None:
    """The interpreter of a complete environment, or None."""
    python = folder / "bin" / "python"
    return python if (folder / marker).is_file() and python.exists() else None
