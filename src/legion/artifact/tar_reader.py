"""A gzip'ed tar, as some older releases wrote it under the name .zip: read strictly, never written.

Its headers are parsed by `tarfile.TarInfo.frombuf`; the walk over them is here, because `tarfile` itself
skips damage, reads extended headers of any size and gives out links and devices.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from legion.artifact.contents import Content, Member
from legion.artifact.inflate import BLOCK, GZIP, inflated
from legion.artifact.limits import Limits
from legion.artifact.member_names import check_names
from legion.errors import ArchiveError

_RECORD = tarfile.BLOCKSIZE
_HEADER_BYTES = 1024 * 1024
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)


def _refuse(member: str | None, what: str) -> ArchiveError:
    subject = "the archive" if member is None else f"the member {member!r}"
    return ArchiveError(f"{subject} {what}; have it packed again by its maker", member)


class _Gunzip:
    """The inflated bytes, counted against the limits."""

    def __init__(self, file: BinaryIO, length: int, limits: Limits) -> None:
        file.seek(0)
        self._length, self._limits = length, limits
        chunks = iter(lambda: file.read(BLOCK), b"")
        self._blocks = inflated(chunks, GZIP, lambda what: _refuse(self.member, what))
        self._ready = b""
        self._count = 0
        self.member: str | None = None

    def _more(self) -> bytes:
        """The next inflated block; empty at the end of the stream."""
        for block in self._blocks:
            self._count += len(block)
            self._limits.check(self._count, self._length, self.member)
            if block:
                return block
        return b""

    def some(self, count: int) -> bytes:
        """Between one and `count` bytes; none at the end."""
        data = self._ready or self._more()
        self._ready = data[count:]
        return data[:count]

    def exactly(self, count: int) -> bytes:
        """So many bytes. Raises ArchiveError where the stream ends before."""
        parts: list[bytes] = []
        while count:
            part = self.some(count)
            if not part:
                raise _refuse(self.member, "is cut short")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


class _Header(NamedTuple):
    name: str
    size: int
    is_folder: bool


def _pax(data: bytes) -> dict[str, str]:
    """The records of an extended header: `<length> <key>=<value>\\n`."""
    found: dict[str, str] = {}
    while data.rstrip(b"\0"):
        length = data.partition(b" ")[0]
        if not length.isdigit() or len(length) > 7 or not len(length) + 1 < int(length) <= len(data):
            raise _refuse(None, "has an extended header that cannot be read")
        record, data = data[len(length) + 1 : int(length)], data[int(length) :]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise _refuse(None, "has an extended header that cannot be read")
        try:
            found[key.decode()] = value[:-1].decode()
        except UnicodeDecodeError:
            raise _refuse(None, "has an extended header that is not UTF-8") from None
    return found


def _info(record: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(record, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError):
        raise _refuse(None, "has a header that cannot be read") from None


def _extended(stream: _Gunzip, info: tarfile.TarInfo) -> dict[str, str]:
    """What an extended header says of the next member: its `path`, its `size`, or nothing."""
    if not 0 <= info.size <= _HEADER_BYTES:
        raise _refuse(None, "has an extended header too large to read")
    data = stream.exactly(info.size + -info.size % _RECORD)[: info.size]
    if info.type == tarfile.GNUTYPE_LONGNAME:
        try:
            return {"path": data.partition(b"\0")[0].decode()}
        except UnicodeDecodeError:
            raise _refuse(None, "has a name that is not UTF-8") from None
    found = _pax(data)
    wanted = {key: value for key, value in found.items() if key in ("path", "size")}
    if any(key.startswith("GNU.sparse") for key in found) or (info.type == tarfile.XGLTYPE and wanted):
        raise _refuse(found.get("path"), "uses features that no artifact has")
    return wanted


def _header(info: tarfile.TarInfo, extended: dict[str, str]) -> _Header:
    is_folder = info.type == tarfile.DIRTYPE
    name = extended.get("path", info.name)
    if info.type not in _FILES and not is_folder:
        raise _refuse(name, "is neither a file nor a folder (a link or a device)")
    size = int(extended["size"]) if extended.get("size", "").isdecimal() else info.size
    if size < 0 or (is_folder and size):
        raise _refuse(name, "has a size that cannot be")
    # `tar -C folder .` writes ./ before each name, and the folder itself.
    name = name.removeprefix("./")
    return _Header(name.removesuffix("/") if is_folder else name, size, is_folder)


def _data(stream: _Gunzip, size: int) -> Iterator[bytes]:
    left = size
    while left:
        block = stream.some(min(left, BLOCK))
        if not block:
            raise _refuse(stream.member, "is cut short")
        left -= len(block)
        yield block
    if any(stream.exactly(-size % _RECORD)):
        raise _refuse(stream.member, "is followed by bytes that belong to no record")


def _entries(stream: _Gunzip, limits: Limits) -> Iterator[tuple[_Header, Iterator[bytes]]]:
    """All entries; each one's data must be used up before the next."""
    extended: dict[str, str] = {}
    count = 0
    while any(record := stream.exactly(_RECORD)):
        count += 1
        if count > 2 * limits.members:
            raise _refuse(None, f"has more than {limits.members:,} members")
        info = _info(record)
        if info.type in _EXTENDED:
            extended |= _extended(stream, info)
            continue
        header, extended = _header(info, extended), {}
        if header.is_folder and header.name in ("", "."):
            continue
        stream.member = header.name
        yield header, _data(stream, header.size)
    while padding := stream.some(BLOCK):
        if any(padding):
            raise _refuse(None, "has bytes after its last record")


class TarContainer:
    """A gzip'ed tar that was inflated to its end once."""

    def __init__(self, file: BinaryIO, length: int, limits: Limits) -> None:
        self._length, self._limits = length, limits
        members: list[Member] = []
        folders: list[str] = []
        for header, data in _entries(_Gunzip(file, length, limits), limits):
            for _ in data:
                pass
            if header.is_folder:
                folders.append(header.name)
            else:
                members.append(Member(header.name, header.size))
            if len(members) + len(folders) > limits.members:
                raise _refuse(header.name, f"is one more than {limits.members:,} members")
        check_names([member.name for member in members], folders)
        self.members = tuple(members)

    def walk(self, file: BinaryIO) -> Iterator[Content]:
        """All entries, inflated from the start of the file."""
        for header, data in _entries(_Gunzip(file, self._length, self._limits), self._limits):
            yield Content(header.name, header.is_folder, data)

    def blocks(self, file: BinaryIO, name: str) -> Iterator[bytes]:
        """One file's bytes. Raises KeyError where it is not there. Inflates all that stands before it."""
        for content in self.walk(file):
            if content.name == name and not content.is_folder:
                yield from content.blocks
                return
            for _ in content.blocks:
                pass
        raise KeyError(name)
