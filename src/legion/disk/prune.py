"""The cache under a bound: what was not used for longest is removed, and nothing that is in use.

An entry is renamed away under the exclusive lock on its record and only then deleted, so nobody ever sees a part of
it. What a killed prune leaves has the name of a leftover, counts as nothing, and is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from legion.disk.cache import (
    ARTIFACTS,
    ENVIRONMENTS,
    EXPORTS,
    KINDS,
    PULLS,
    RECORDS,
    Note,
    read_note,
    write_note,
)
from legion.disk.lock import is_at, opened, take, tried
from legion.disk.sizes import size_of
from legion.errors import OutsideError

# Packages that conda's channels sent, kept for the next environment. Who reads them holds no lock of its own.
DOWNLOADS: Final = "conda"
CONTAINERS: Final = "containers"
_TURN = ".prune"
_PRUNED = ".pruned"


class Entry(msgspec.Struct, frozen=True):
    """One thing in the cache. `used` is its last use, `size` in bytes, `what` what it is, for people.

    `counted` entries share the budget and are removed by every prune; the others only where that is asked for.
    """

    kind: str
    name: str
    path: Path
    size: int
    used: datetime
    what: str = ""
    counted: bool = True
    in_use: bool = False


class _Launch(msgspec.Struct, frozen=True):
    """Of a launcher's description, which model it starts."""

    folder: str


class Pruned(msgspec.Struct, frozen=True):
    """What a prune did: the entries that are gone, the bytes they took, and what is left of what it looked at."""

    removed: tuple[Entry, ...] = ()
    freed: int = 0
    left: int = 0


def entries(cache: Path, *, uncounted: bool = True, probe: bool = False) -> list[Entry]:
    """What is in the cache, the longest unused first; with `probe` each one says whether it is in use.

    The size of what is not counted is not kept anywhere, so each call walks through it.
    """
    places = [(kind, path) for kind in KINDS for path in _places(cache, kind)]
    if (cache / DOWNLOADS).is_dir():
        places.append((DOWNLOADS, cache / DOWNLOADS))
    found = [entry for kind, path in places for entry in _entry(cache, kind, path, uncounted)]
    if probe:
        found = [msgspec.structs.replace(entry, in_use=_in_use(cache, entry)) for entry in found]
    return sorted(found, key=lambda entry: entry.used)


def _places(cache: Path, kind: str) -> Iterator[Path]:
    """The entries of a kind, without locks and leftovers."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(cache / kind) as found:
        for one in found:
            if not one.name.startswith(".") and (one.is_dir() or (kind == EXPORTS and one.name.endswith(".zip"))):
                yield Path(one.path)


def _entry(cache: Path, kind: str, path: Path, uncounted: bool) -> Iterator[Entry]:
    """Nothing where it was removed meanwhile, or is not wanted."""
    record = _record(cache, kind, path.name)
    note = read_note(record)
    with contextlib.suppress(FileNotFoundError):
        try:
            used = record.stat().st_mtime
        except FileNotFoundError:
            used = path.stat().st_mtime
        size = note.size
        counted = kind != DOWNLOADS
        if not (counted or uncounted):
            return
        if size is None:
            size = size_of(path)
            if counted and kind != PULLS:
                _adopt(record, Note(size, note.what), used)
        yield Entry(kind, path.name, path, size, datetime.fromtimestamp(used, UTC), note.what, counted)


def _record(cache: Path, kind: str, name: str) -> Path:
    return cache / RECORDS / f"{kind}-{name}"


def _adopt(record: Path, note: Note, used: float) -> None:
    """Write down the size of what an older Legion or a killed maker left, and leave its last use as it was."""
    with contextlib.suppress(OSError):
        record.parent.mkdir(exist_ok=True)
        with opened(record) as descriptor:
            write_note(descriptor, note)
            os.utime(descriptor, (used, used))


def _in_use(cache: Path, entry: Entry) -> bool:
    record = _record(cache, entry.kind, entry.name)
    with _alone(record) as found:
        if found is None:
            return record.exists()
        with _unbuilt(entry) as free:
            return not free


def prune(
    cache: Path,
    size: int,
    *,
    uncounted: bool = False,
    wait: bool = True,
    on_removed: Callable[[Entry], object] | None = None,
) -> Pruned:
    """Remove what was used longest ago until the rest takes no more than `size` bytes; what is in use stays.

    With `uncounted` conda's downloads count and go too. Of several prunes at once one works, the others wait, or
    without `wait` do nothing. Raises OutsideError where the cache cannot be written.
    """
    if not cache.is_dir():
        return Pruned()
    try:
        (cache / RECORDS).mkdir(exist_ok=True)
        # One at a time.
        with opened(cache / RECORDS / _TURN) as turn:
            return _pruned(cache, size, uncounted, on_removed) if take(turn, wait=wait) else Pruned()
    except OSError as error:
        raise OutsideError(
            f"the cache in {cache} cannot be pruned ({error.strerror}); check who may write there"
        ) from None


def _pruned(cache: Path, size: int, uncounted: bool, on_removed: Callable[[Entry], object] | None) -> Pruned:
    _clear_leftovers(cache)
    found = entries(cache, uncounted=uncounted)
    left = sum(entry.size for entry in found)
    removed = []
    for entry in found:
        # A pull is only there while it is made. What is left may be empty folders.
        if (left > size or size == 0 or entry.kind == PULLS) and _remove(cache, entry):
            left -= entry.size
            removed.append(entry)
            if on_removed is not None:
                on_removed(entry)
    return Pruned(tuple(removed), sum(entry.size for entry in removed), left)


@contextlib.contextmanager
def _alone(record: Path) -> Iterator[int | None]:
    """The open record under the exclusive lock; None where somebody holds it or it is not there."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(opened(record, 0))
        except FileNotFoundError:
            yield None
            return
        yield descriptor if take(descriptor, wait=False) and is_at(descriptor, record) else None


@contextlib.contextmanager
def _unbuilt(entry: Entry) -> Iterator[bool]:
    """Whether nothing builds there: the uv of a killed builder may go on for a while, under the builder's lock."""
    places = [entry.path.with_suffix(".lock")] if entry.kind == ENVIRONMENTS else []
    if entry.kind == DOWNLOADS:
        places = sorted((entry.path.parent / ENVIRONMENTS).glob("*.lock"))
    with contextlib.ExitStack() as stack:
        free = True
        for place in places:
            if place.exists():
                free = stack.enter_context(tried(place)) and free
        yield free


def _remove(cache: Path, entry: Entry) -> bool:
    """Remove an entry, unless somebody holds it or has used it since it was looked at."""
    record = _record(cache, entry.kind, entry.name)
    if not record.exists():
        _adopt(record, Note(what=entry.what), entry.used.timestamp())
    with _alone(record) as descriptor:
        if descriptor is None or os.fstat(descriptor).st_mtime > entry.used.timestamp() + 1e-3:
            return False
        with _unbuilt(entry) as free:
            if not free:
                return False
            aside = entry.path.with_name(f".{entry.path.name}.{secrets.token_hex(4)}{_PRUNED}")
            try:
                entry.path.rename(aside)
            except FileNotFoundError:
                return False
            _forget(record, entry.path)
    # Nobody waits for this.
    _delete(aside)
    return True


def _forget(record: Path, path: Path) -> None:
    """Remove the record and what killed makers left of the entry; only under the record's exclusive lock."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        _delete(part)
    if path.parent.name == ARTIFACTS:
        path.with_suffix(".lock").unlink(missing_ok=True)
        for launcher in _launchers(path):
            _delete(launcher)
    record.unlink(missing_ok=True)


def _launchers(folder: Path) -> Iterator[Path]:
    """What starts the model in `folder` in a container (environment/docker.py); its users hold the folder."""
    for launch in (folder.parent.parent / CONTAINERS).glob("*/launch.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if msgspec.json.decode(launch.read_bytes(), type=_Launch).folder == str(folder.resolve()):
                yield launch.parent


def _clear_leftovers(cache: Path) -> None:
    """Remove what a killed prune left, and records whose entry is gone or was never finished."""
    for kind in (*KINDS, "."):
        for aside in (cache / kind).glob(f".*{_PRUNED}"):
            _delete(aside)
    for record in sorted((cache / RECORDS).iterdir()):
        kind, dash, name = record.name.partition("-")
        path = cache / kind / name
        if not dash or kind not in (*KINDS, DOWNLOADS) or path.exists():
            continue
        with _alone(record) as descriptor:
            if descriptor is not None and not path.exists():
                _forget(record, path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
