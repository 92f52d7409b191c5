"""The data of a ZIP's members, inflated by ISA-L and checked against what the directory promised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from isal import isal_zlib

from legion.artifact.contents import Content, Member
from legion.artifact.inflate import BLOCK, RAW, inflated
from legion.artifact.limits import Limits
from legion.artifact.zip import records as records
from legion.artifact.zip.index import Entry, read_index
from legion.errors import ArchiveError


def _refuse(entry: Entry, what: str) -> ArchiveError:
    return ArchiveError(f"the member {entry.name!r} {what}; have it packed again by its maker", entry.name)


def _packed(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    file.seek(entry.data_offset)
    left = entry.packed
    while left:
        data = file.read(min(left, BLOCK))
        if not data:
            raise _refuse(entry, "is cut short")
        left -= len(data)
        yield data


def inflate(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """The member's bytes. Raises ArchiveError once they are more than promised, or not what was packed."""
    size, crc = 0, 0
    if entry.method == records.DEFLATED and (entry.packed or entry.size):
        blocks = inflated(_packed(file, entry), RAW, lambda what: _refuse(entry, what))
    else:
        blocks = _packed(file, entry)
    for block in blocks:
        size += len(block)
        crc = isal_zlib.crc32(block, crc)
        if size > entry.size:
            raise _refuse(entry, "inflates to more than it says")
        yield block
    if size != entry.size:
        raise _refuse(entry, "inflates to less than it says")
    if crc != entry.crc:
        raise _refuse(entry, "is damaged: its checksum does not match")


class ZipContainer:
    """A ZIP whose records agree."""

    def __init__(self, file: BinaryIO, length: int, limits: Limits) -> None:
        self._entries = read_index(file, length, limits)
        self._by_name = {entry.name: entry for entry in self._entries}
        self.members = tuple(Member(entry.name, entry.size) for entry in self._entries if not entry.is_folder)
        total = 0
        # Counting promises is enough here: `inflate` stops at the first byte over a promise.
        for entry in self._entries:
            total += entry.size
            limits.check(total, length, entry.name)

    def walk(self, file: BinaryIO) -> Iterator[Content]:
        """All entries, each checked as it comes out."""
        for entry in self._entries:
            name = entry.name.rstrip("/") if entry.is_folder else entry.name
            yield Content(name, entry.is_folder, inflate(file, entry))

    def blocks(self, file: BinaryIO, name: str) -> Iterator[bytes]:
        """One file's bytes. Raises KeyError where it is not there."""
        return inflate(file, self._by_name[name])
