"""Sizes: how they are written, what the cache may take, what something takes on the disk."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from legion.errors import UsageError

DEFAULT: Final = 20 * 1024**3
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)?", re.ASCII | re.IGNORECASE)


def size_from(text: str) -> int:
    """Bytes from `20GiB`, `500 MB`, `1.5T` or a plain number. Raises UsageError.

    K, M, G and T count by 1024 with an i or alone, else by 1000.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no size; write one such as 20GiB, 500MB or 0")
    number, unit, binary = match[1], (match[2] or "").upper(), match[3]
    alone = not match[0].upper().endswith("B")
    base = 1024 if binary or alone else 1000
    return int(float(number) * base ** " KMGT".index(unit or " "))


def budget(environ: Mapping[str, str]) -> int:
    """How many bytes the cache may take: LEGION_CACHE_SIZE, else 20 GiB. Raises UsageError."""
    text = environ.get("LEGION_CACHE_SIZE")
    if not text:
        return DEFAULT
    try:
        return size_from(text)
    except UsageError as error:
        raise UsageError(f"LEGION_CACHE_SIZE: {error}") from None


def size_of(path: Path) -> int:
    """What a file or folder takes, in bytes; a file with n names, as uv links them, counts by its n-th part."""
    if path.is_symlink() or not path.is_dir():
        return _share(path.lstat())
    total = 0
    folders = [str(path)]
    while folders:
        # What is removed meanwhile takes nothing.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folders.pop()) as found:
            for one in found:
                with contextlib.suppress(FileNotFoundError):
                    if one.is_dir(follow_symlinks=False):
                        folders.append(one.path)
                    elif one.is_file(follow_symlinks=False):
                        total += _share(one.stat(follow_symlinks=False))
    return total


def _share(stat: os.stat_result) -> int:
    return stat.st_size // max(1, stat.st_nlink)


def shown(size: int) -> str:
    """A size for people: `1.4 GiB`."""
    if size < 1024:
        return f"{size} B"
    amount, unit = size / 1024, 0
    while amount >= 1023.95 and unit < 3:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {'KMGT'[unit]}iB"
