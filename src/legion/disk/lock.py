"""A lock between processes that a killed holder gives back by itself."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Hold the lock file `path`; `on_wait` is called once if another process has it. Yields its descriptor.

    The lock belongs to the open file, so a subprocess that is given the descriptor (`pass_fds`) keeps it held
    even when its parent is killed. The file is never removed: that would let two processes lock two files of
    one name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
