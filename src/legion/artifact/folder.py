"""A folder as the list of files that an artifact of it holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from legion.errors import ArchiveError


class Source(msgspec.Struct, frozen=True):
    """One file to pack: its name in the archive, where it is, and its size in bytes."""

    name: str
    path: Path
    size: int


def _refuse(name: str, what: str) -> ArchiveError:
    return ArchiveError(f"{name!r} {what}; remove it from the folder and pack again", name)


def _checked(root: Path, path: Path, name: str) -> os.stat_result:
    """The file behind a name, followed where it is a link that stays inside `root`."""
    try:
        found = path.stat()
    except OSError:
        raise _refuse(name, "is a link to nothing, or cannot be read") from None
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        raise _refuse(name, "is a link that leaves the folder")
    return found


def _walk(root: Path, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Source]:
    for path in folder.iterdir():
        name = prefix + path.name
        found = _checked(root, path, name)
        if stat.S_ISREG(found.st_mode):
            yield Source(name, path, found.st_size)
        elif stat.S_ISDIR(found.st_mode):
            here = (found.st_dev, found.st_ino)
            if here in above:
                raise _refuse(name, "is a link to a folder that it is in")
            yield from _walk(root, path, f"{name}/", (*above, here))
        else:
            raise _refuse(name, "is neither a file nor a folder")


def files(root: Path) -> list[Source]:
    """All files of a folder, sorted by name. Links are followed as the files and folders they lead to.

    Empty folders are left out. Raises ArchiveError for links that leave the folder, loops, pipes and devices.
    """
    real = root.resolve()
    found = real.stat()
    return sorted(_walk(real, real, "", ((found.st_dev, found.st_ino),)), key=lambda source: source.name)
