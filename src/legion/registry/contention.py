"""Many writers at one registry: locks among the processes of one machine, patience with a busy database.

MLflow counts versions up in the database and gives up after three collisions, and SQLite refuses a writer that
another one overtook. On one machine a lock lets one writer in at a time; what comes from other machines is met by
trying again.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from legion.disk import lock

# Seconds: the first pause, doubled each time up to the second number, and all tries together.
_PAUSE, _LONGEST, _ALTOGETHER = 0.05, 2.0, 180.0
# Two at once made the same next version number, table or alias; or the database was busy.
_BUSY = (
    "database is locked",
    "database table is locked",
    "giving up after",
    "deadlock detected",
    "could not serialize access",
    "too many clients",
    "queuepool limit",
    "remaining connection slots",
    "duplicate key",
    "unique constraint",
)

T = TypeVar("T")


@contextmanager
def alone(*names: str) -> Iterator[None]:
    """Keep every other thread and process of this user on this machine out of the block of the same names.

    Where no lock can be made (another user's folder of the same name), the block runs unlocked: what it does must
    be right then too, if slower.
    """
    folder = _folder()
    if folder is None:
        yield
        return
    key = hashlib.sha256("\0".join(names).encode()).hexdigest()[:32]
    with lock.transient(folder / f"{key}.lock"):
        yield


def patiently(call: Callable[[], T]) -> T:
    """The call's result, tried again for up to three minutes while the database is busy with others.

    Only for calls that leave nothing behind when they fail, or may be made twice. The last error is raised as it is.
    """
    end, pause = time.monotonic() + _ALTOGETHER, _PAUSE
    while True:
        try:
            return call()
        # Each store raises its own kinds; the text is what they share.
        except Exception as error:
            text = str(error).lower()
            if not any(sign in text for sign in _BUSY) or time.monotonic() > end:
                raise
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (no secret, only apart from the others)
        pause = min(pause * 2, _LONGEST)


def _folder() -> Path | None:
    """A folder for locks that is this user's alone, or None."""
    folder = Path(tempfile.gettempdir()) / f"legion-locks-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if ours else None
