"""Names of an archive's members: what is refused before anything is written under such a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from legion.errors import ArchiveError

_DRIVE = re.compile(r"[A-Za-z]:")
# Linux and macOS take 255 bytes a segment; the whole leaves room for the folder that it is unpacked into.
_SEGMENT_BYTES = 255
_NAME_BYTES = 2048


def fault(name: str) -> str | None:
    """What is wrong with a relative, slash-separated file name; None if nothing is."""
    if not name:
        return "is empty"
    # Cc: control characters, Cs: halves of a pair, Zl and Zp: line breaks that no terminal shows.
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        return "holds a control character"
    if "\\" in name:
        return "holds a backslash"
    if name.startswith("/") or _DRIVE.match(name):
        return "is absolute"
    wrong = _segment_fault(name.split("/"))
    if wrong is None and len(name.encode()) > _NAME_BYTES:
        return "is too long"
    return wrong


def _segment_fault(segments: list[str]) -> str | None:
    if ".." in segments:
        return "leaves the archive"
    if "" in segments or "." in segments:
        return "holds an empty segment"
    if any(segment.endswith((".", " ")) for segment in segments):
        return "holds a segment that ends with a dot or a space"
    if any(len(segment.encode()) > _SEGMENT_BYTES for segment in segments):
        return "is too long"
    return None


def fold(name: str) -> str:
    """The same text for all names that some file system takes for one (canonical caseless match)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def check_name(name: str) -> str:
    """The name as it is. Raises ArchiveError where it is unsafe."""
    if (wrong := fault(name)) is not None:
        raise ArchiveError(f"the member {name!r} is refused: its name {wrong}; rename it and pack again", name)
    return name


def check_names(files: Iterable[str], folders: Iterable[str] = ()) -> None:
    """Refuse unsafe names, and names that collide on some file system: twice the same, or a file as a folder.

    `folders` are the archive's own entries for folders; those that the names imply are added here.
    Raises ArchiveError with the second of the two as its member.
    """
    entries: set[str] = set()
    taken: dict[str, tuple[str, bool]] = {}

    def take(name: str, is_file: bool) -> None:
        other, _ = found = taken.setdefault(fold(name), (name, is_file))
        if found != (name, is_file):
            raise ArchiveError(
                f"the members {other!r} and {name!r} are one name to some file systems; rename one",
                name,
            )

    for names, is_file in ((folders, False), (files, True)):
        for name in names:
            check_name(name)
            if name in entries:
                raise ArchiveError(f"the member {name!r} is there twice; pack again", name)
            entries.add(name)
            take(name, is_file)
            # Up to a folder that is known already: then its own parents are known too.
            parent = name.rpartition("/")[0]
            while parent and taken.get(fold(parent)) != (parent, False):
                take(parent, False)
                parent = parent.rpartition("/")[0]
