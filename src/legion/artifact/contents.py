"""What an archive gives out, whichever container it is: its entries, in the file's order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

import msgspec


class Content(msgspec.Struct, frozen=True):
    """One entry while the archive is walked. `blocks` must be used up before the next one is asked for."""

    name: str
    is_folder: bool
    blocks: Iterator[bytes]


class Member(msgspec.Struct, frozen=True):
    """One file of an archive; `size` is in bytes, inflated."""

    name: str
    size: int


class Container(Protocol):
    """A file that was found whole and safe by its records. Both calls raise ArchiveError while inflating."""

    members: tuple[Member, ...]

    def walk(self, file: BinaryIO) -> Iterator[Content]:
        """All entries."""

    def blocks(self, file: BinaryIO, name: str) -> Iterator[bytes]:
        """One file's bytes. Raises KeyError where it is not there."""
