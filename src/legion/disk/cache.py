"""What is in the cache, and who uses it: a lock that the kernel gives back, and a record, for each entry.

An entry is a folder or a file `cache/KIND/NAME`. Its record is the file `cache/in-use/KIND-NAME`: whoever makes or
runs the entry holds a shared lock on it, its time of change is the entry's last use, and its content is what the
entry takes on the disk. Only who has the exclusive lock may remove an entry (prune.py), so an entry whose lock is
held stays. This module is on the way of a worker's start: it imports little and walks through no folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from legion.disk.lock import is_at, take

ARTIFACTS: Final = "artifacts"
EXPORTS: Final = "exports"
ENVIRONMENTS: Final = "environments"
PULLS: Final = "pulls"
KINDS: Final = (ARTIFACTS, EXPORTS, ENVIRONMENTS, PULLS)
RECORDS: Final = "in-use"


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of a record: the entry's size in bytes, and what it is, for people."""

    size: int | None = None
    what: str = ""


class Hold:
    """A shared lock on an entry's record, until `close` or the end of the process. Made by `hold` and `claim`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Bound here, since at the interpreter's end nothing else may be there.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close(descriptor)

    def note(self, note: Note) -> None:
        """Write down what the entry takes, so that nobody has to walk through it."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                write_note(self._descriptor, note)

    def close(self) -> None:
        """Give the lock back; up to now the entry was used. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            _touch(descriptor)
            os.close(descriptor)


def record_of(path: Path) -> Path | None:
    """Where the record of the entry at `path` is, or would be; None for what is in no cache."""
    kind, records = path.parent.name, path.parent.parent / RECORDS
    # The folder of records is what tells a cache from any other place with a folder of this name.
    return records / f"{kind}-{path.name}" if kind in KINDS and records.is_dir() else None


def hold(path: Path) -> Hold | None:
    """Hold an entry that is there; None for what is gone, is in no cache, or where nothing can be locked.

    For whoever runs it. Look whether it is there after this, not before.
    """
    record = record_of(path)
    if record is None or not path.exists():
        return None
    try:
        held = _held(path, record)
    except OSError:
        # A cache that cannot be written cannot be pruned either.
        return None
    if path.exists():
        return held
    held.close()
    return None


def claim(path: Path) -> Hold:
    """Hold an entry that is there or will be made now: look which of the two after this, not before.

    Raises OSError where the cache cannot be written and the entry is not there.
    """
    records = path.parent.parent / RECORDS
    try:
        records.mkdir(parents=True, exist_ok=True)
        return _held(path, records / f"{path.parent.name}-{path.name}")
    except OSError:
        if path.exists():
            return Hold(path, -1)
        raise


def environment_of(python: Path) -> Path:
    """The folder of the environment whose interpreter is `bin/python`."""
    return python.parent.parent


def hold_all(*paths: Path) -> list[Hold]:
    """A hold on each of these that is an entry and there."""
    return [held for held in map(hold, paths) if held is not None]


def _held(path: Path, record: Path) -> Hold:
    while True:
        descriptor = _open(record)
        try:
            # Waits for as long as a rename takes.
            take(descriptor, shared=True)
            if is_at(descriptor, record):
                _touch(descriptor)
                return Hold(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        # The entry was removed together with this record: then another record counts.
        os.close(descriptor)


def _open(record: Path) -> int:
    try:
        return os.open(record, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        # Of somebody else's cache, who may prune it.
        return os.open(record, os.O_RDONLY | os.O_CLOEXEC)


def write_note(descriptor: int, note: Note) -> None:
    """Put the note into an open record. It is short, and one that is cut off counts as none."""
    content = msgspec.json.encode(note)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


def read_note(record: Path) -> Note:
    """What a record says; an empty note where it says nothing."""
    try:
        return msgspec.json.decode(record.read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError):
        return Note()


def _touch(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.utime(descriptor)


_kept: dict[Path, tuple[float, Hold]] = {}
_keeping = threading.Lock()


def keep(held: Hold | None) -> None:
    """Leave the entry held by this process, until it ends or `let_go`.

    It bridges the time from when an entry is found until the one who runs it holds it too.
    """
    if held is None:
        return
    with _keeping:
        _, before = _kept.pop(held.path, (0.0, None))
        _kept[held.path] = (time.monotonic(), held)
    if before is not None:
        before.close()


def let_go(seconds: float) -> None:
    """Give back what was kept for longer than this. For processes that go on for months."""
    limit = time.monotonic() - seconds
    with _keeping:
        over = [path for path, (since, _) in _kept.items() if since <= limit]
        holds = [_kept.pop(path)[1] for path in over]
    for held in holds:
        held.close()


@contextlib.contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """A new folder in the cache for as long as the block runs; prune removes what a killed process left.

    Raises OSError.
    """
    folder = cache / PULLS / secrets.token_hex(8)
    with claim(folder):
        folder.mkdir(parents=True, mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            record = record_of(folder)
            if record is not None and not folder.exists():
                record.unlink(missing_ok=True)
