"""Locks between processes, on files. The kernel gives a lock back when its holder is killed.

A lock belongs to the open file, so a subprocess that is given the descriptor (`pass_fds`) keeps it held even when its
parent is killed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def take(descriptor: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Lock an open file until it is closed; returns whether it is locked, which it is not only without `wait`.

    Any number may hold it `shared` at once, and nobody else then. Raises OSError where files cannot be locked.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that is at `path` now. If not, the lock on it locks nobody out."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def opened(path: Path, flags: int = os.O_CREAT) -> Iterator[int]:
    """The file at `path`, open to be locked for as long as the block runs; yields its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def held(path: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Hold the lock file `path`; `on_wait` is called once if another process has it. Yields its descriptor.

    The file is never removed: that would let two processes lock two files of one name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened(path) as descriptor:
        if not take(descriptor, wait=False):
            on_wait()
            take(descriptor)
        yield descriptor


@contextmanager
def tried(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` if nobody has it; yields whether it is held."""
    with opened(path) as descriptor:
        yield take(descriptor, wait=False)


@contextmanager
def transient(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which is gone when nobody holds it."""
    while True:
        with opened(path) as descriptor:
            take(descriptor)
            # The holder before may have removed the very file that was waited for: then another one counts.
            if not is_at(descriptor, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
