"""`legion.cache`: what is cached on this machine, and freeing space."""

from __future__ import annotations

from pathlib import Path

import msgspec

from legion.api.progress import LOGGED, Progress
from legion.api.settings import cache_folder, cache_size
from legion.disk import prune as pruning
from legion.disk.prune import Entry as Entry
from legion.disk.sizes import shown, size_from
from legion.errors import UsageError

# As much of a digest as tells entries apart.
_NAME = 12


class CacheContent(msgspec.Struct, frozen=True):
    """The cache folder and its entries, the longest unused first. `limit` and `counted`, what counts towards it, are
    in bytes."""

    cache: Path
    limit: int
    counted: int
    entries: tuple[Entry, ...]


class PrunedCache(msgspec.Struct, frozen=True):
    """What was removed. `freed`, `left` and `limit` are in bytes; what is left over the limit is in use."""

    removed: tuple[Entry, ...]
    freed: int
    left: int
    limit: int


def show() -> CacheContent:
    """What the cache holds, with size, last use, and whether it is in use now. Raises UsageError."""
    folder, limit = cache_folder(), cache_size()
    found = tuple(pruning.entries(folder, probe=True))
    return CacheContent(folder, limit, sum(entry.size for entry in found if entry.counted), found)


def prune(
    to: int | str | None = None, *, everything: bool = False, downloads: bool = False, progress: Progress = LOGGED
) -> PrunedCache:
    """Remove the longest unused entries until the cache is small enough; what is in use stays.

    `to`: the size to shrink it to, in bytes or as text such as "20GiB"; LEGION_CACHE_SIZE by default. `everything`:
    remove all that is not in use. `downloads`: also remove packages that were downloaded for conda environments.
    Raises UsageError for an invalid size, OutsideError where something cannot be removed.
    """
    if everything and to is not None:
        raise UsageError("--all and --to exclude each other; give one of them")
    limit = 0 if everything else cache_size() if to is None else size_from(str(to))

    def on_removed(entry: Entry) -> None:
        what = " ".join(filter(None, (entry.kind, entry.name[:_NAME], entry.what)))
        progress.say(f"removed {what} ({shown(entry.size)})")

    done = pruning.prune(cache_folder(), limit, uncounted=downloads, on_removed=on_removed)
    return PrunedCache(done.removed, done.freed, done.left, limit)
