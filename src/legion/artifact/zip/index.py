"""What a ZIP file says it holds, believed only where all of its records agree.

Two readers of one loose file can see two contents; here every byte must belong to exactly one record, and the
record before each member must say what the directory says. Nothing is inflated here.
"""

from __future__ import annotations

import stat
import struct
from typing import BinaryIO

import msgspec

from legion.artifact.limits import Limits
from legion.artifact.member_names import check_names
from legion.artifact.zip import records as records
from legion.errors import ArchiveError

# Deflate's two level bits, sizes behind the data, UTF-8. All else is encryption, patches or unused.
_KNOWN_FLAGS = 0x6 | records.DESCRIPTOR | records.UTF8
_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
_ENCRYPTED_FIELDS = (0x0017, 0x9901)
_DOS_FOLDER = 0x10
# "Made by" Unix and macOS.
_UNIX = (3, 19)


class Entry(msgspec.Struct, frozen=True):
    """One member: where its data is and what it must inflate to (sizes in bytes)."""

    name: str
    is_folder: bool
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    offset: int
    data_offset: int = 0


def _refuse(member: str | None, what: str) -> ArchiveError:
    subject = "the archive" if member is None else f"the member {member!r}"
    return ArchiveError(f"{subject} {what}; have it packed again by its maker", member)


def _read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise _refuse(None, "is cut short")
    return data


class _End(msgspec.Struct, frozen=True):
    """Where the directory is, and how many entries it has."""

    count: int
    size: int
    offset: int


def _end(file: BinaryIO, length: int) -> _End:
    """Read the end records. Raises ArchiveError where bytes follow them or they disagree."""
    tail_start = max(0, length - records.END.size - records.FULL_16)
    tail = _read_at(file, tail_start, length - tail_start)
    at = tail.rfind(records.END_SIGNATURE)
    if at < 0 or len(tail) - at < records.END.size:
        raise _refuse(None, "has no end record, so it is cut short or no ZIP")
    _, disk, start_disk, here, count, size, offset, comment = records.END.unpack_from(tail, at)
    if at + records.END.size + comment != len(tail):
        raise _refuse(None, "has bytes after its last record")
    if disk or start_disk or here != count:
        raise _refuse(None, "is one part of several")
    end = tail_start + at
    wide = _end_64(file, end)
    if wide is not None:
        narrow = (count, size, offset)
        full = (records.FULL_16, records.FULL_32, records.FULL_32)
        wider = (wide.count, wide.size, wide.offset)
        if any(n not in (f, w) for n, f, w in zip(narrow, full, wider, strict=True)):
            raise _refuse(None, "has two end records that disagree")
        found, end = wide, end - records.LOCATOR.size - records.END_64.size
    else:
        found = _End(count, size, offset)
    if found.offset + found.size != end:
        raise _refuse(None, "has bytes before its first or between its last records")
    return found


def _end_64(file: BinaryIO, end: int) -> _End | None:
    """The 64-bit end record, which stands with its locator right before the other one; None without it."""
    at = end - records.LOCATOR.size
    if at < records.END_64.size:
        return None
    signature, disk, offset, disks = records.LOCATOR.unpack(_read_at(file, at, records.LOCATOR.size))
    if signature != records.LOCATOR_SIGNATURE:
        return None
    if offset != at - records.END_64.size or disk or disks != 1:
        raise _refuse(None, "has a 64-bit end record in another place than it says")
    fields = records.END_64.unpack(_read_at(file, offset, records.END_64.size))
    if fields[0] != records.END_64_SIGNATURE or fields[1] != records.END_64.size - 12:
        raise _refuse(None, "has a 64-bit end record that cannot be read")
    if fields[4] or fields[5] or fields[6] != fields[7]:
        raise _refuse(None, "is one part of several")
    return _End(fields[7], fields[8], fields[9])


def _extra(name: str | None, data: bytes) -> dict[int, bytes]:
    """The extra fields by their id."""
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise _refuse(name, "has an extra field that is cut short")
        kind, count = struct.unpack_from("<HH", data, at)
        value = data[at + 4 : at + 4 + count]
        if len(value) != count or kind in fields:
            raise _refuse(name, "has an extra field that is cut short or there twice")
        fields[kind] = value
        at += 4 + count
    if any(kind in fields for kind in _ENCRYPTED_FIELDS):
        raise _refuse(name, "is encrypted")
    return fields


def _widen(name: str, extra: dict[int, bytes], narrow: tuple[int, ...]) -> tuple[int, ...]:
    """Replace the 32-bit numbers that are full by those of the ZIP64 field, which holds no others."""
    value = extra.get(records.ZIP64_FIELD)
    full = sum(number == records.FULL_32 for number in narrow)
    if value is None:
        return narrow
    if len(value) != 8 * full:
        raise _refuse(name, "has sizes that cannot be read")
    wide = iter(struct.unpack(f"<{full}Q", value))
    return tuple(next(wide) if number == records.FULL_32 else number for number in narrow)


def _name(raw: bytes, flags: int, made_by: int) -> str:
    # Info-ZIP on Unix writes the bytes of a UTF-8 name without marking them. All readers agree on its ASCII part.
    is_utf8 = flags & records.UTF8 or made_by >> 8 in _UNIX
    try:
        return raw.decode("utf-8" if is_utf8 else "ascii")
    except UnicodeDecodeError:
        shown = raw.decode("ascii", "backslashreplace")
        raise _refuse(shown, "has a name that is neither ASCII nor marked and written as UTF-8") from None


def _is_folder(name: str, attributes: int) -> bool:
    """Whether the entry is a folder. Raises ArchiveError for all that is neither file nor folder."""
    folder = name.endswith("/")
    kind = stat.S_IFMT(attributes >> 16)
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
        raise _refuse(name, "is neither a file nor a folder (a link or a device)")
    # DOS attributes say the same once more; those of other systems may leave them out.
    if attributes & _DOS_FOLDER and not folder:
        raise _refuse(name, "is a folder by its attributes and a file by its name")
    return folder


def _entry(data: bytes, at: int) -> tuple[Entry, int]:
    """The directory's entry at `at`, and where the next one is."""
    if len(data) - at < records.CENTRAL.size:
        raise _refuse(None, "has a directory that is cut short")
    fields = records.CENTRAL.unpack_from(data, at)
    signature, made_by, _, flags, method, _, _, crc, packed, size = fields[:10]
    name_size, extra_size, comment_size, disk, _, attributes, offset = fields[10:]
    name_at = at + records.CENTRAL.size
    extra_at = name_at + name_size
    end = extra_at + extra_size + comment_size
    if signature != records.CENTRAL_SIGNATURE or end > len(data):
        raise _refuse(None, "has a directory that cannot be read")
    name = _name(data[name_at:extra_at], flags, made_by)
    if flags & _ENCRYPTED_FLAGS:
        raise _refuse(name, "is encrypted")
    if flags & ~_KNOWN_FLAGS:
        raise _refuse(name, "uses features that no artifact has")
    if method not in (records.STORED, records.DEFLATED):
        raise _refuse(name, f"is packed by method {method}, where only stored and deflate are read")
    if disk:
        raise _refuse(name, "is in another part of the archive")
    extra = _extra(name, data[extra_at : extra_at + extra_size])
    size, packed, offset = _widen(name, extra, (size, packed, offset))
    folder = _is_folder(name, attributes)
    if (folder and size) or (method == records.STORED and size != packed):
        raise _refuse(name, "has sizes that cannot be")
    return Entry(name, folder, method, flags, crc, packed, size, offset), end


def _check_local(file: BinaryIO, entry: Entry, end: int) -> Entry:
    """Compare the record before the data, and the one behind it, with the directory.

    `end` is where the next record starts; the member must fill the place up to it exactly.
    """
    name = entry.name
    head = records.LOCAL.unpack(_read_at(file, entry.offset, records.LOCAL.size))
    signature, _, flags, method, _, _, crc, packed, size, name_size, extra_size = head
    rest = _read_at(file, entry.offset + records.LOCAL.size, name_size + extra_size)
    if signature != records.LOCAL_SIGNATURE or rest[:name_size] != name.encode():
        raise _refuse(name, "is another one in its own record than in the directory")
    size, packed = _widen(name, _extra(name, rest[name_size:]), (size, packed))
    told = (crc, packed, size)
    truth = (entry.crc, entry.packed, entry.size)
    later = bool(flags & records.DESCRIPTOR)
    # With the sizes behind the data, the record before it may leave each of them out.
    agree = told == truth or (later and all(a in (0, b) for a, b in zip(told, truth, strict=True)))
    if (flags, method) != (entry.flags, entry.method) or not agree:
        raise _refuse(name, "has a record of its own that is unlike the directory")
    data_offset = entry.offset + records.LOCAL.size + name_size + extra_size
    after = end - data_offset - entry.packed
    if after < 0:
        raise _refuse(name, "overlaps the next record")
    if after and not (later and _is_descriptor(_read_at(file, end - after, min(after, 25)), truth)):
        raise _refuse(name, "is followed by bytes that belong to no record")
    if later and not after:
        raise _refuse(name, "lacks the record behind its data")
    return msgspec.structs.replace(entry, data_offset=data_offset)


def _is_descriptor(data: bytes, truth: tuple[int, int, int]) -> bool:
    """Whether the bytes behind the data are one of the four forms of its sizes, and true."""
    crc, packed, size = truth
    forms = [records.DESCRIPTOR_64.pack(crc, packed, size)]
    if max(packed, size) < records.FULL_32:
        forms.append(records.DESCRIPTOR_32.pack(crc, packed, size))
    return data in forms or data in [records.DESCRIPTOR_SIGNATURE + form for form in forms]


def read_index(file: BinaryIO, length: int, limits: Limits) -> tuple[Entry, ...]:
    """All members of a ZIP file of `length` bytes, in the file's order. Raises ArchiveError for any doubt."""
    end = _end(file, length)
    if end.count > limits.members or end.size > limits.directory_bytes:
        raise _refuse(None, f"has more than {limits.members:,} members or a directory too large to read")
    directory = _read_at(file, end.offset, end.size)
    entries: list[Entry] = []
    at = 0
    for _ in range(end.count):
        entry, at = _entry(directory, at)
        entries.append(entry)
    if at != len(directory):
        raise _refuse(None, "has more in its directory than it says")
    check_names(
        [entry.name for entry in entries if not entry.is_folder],
        [entry.name[:-1] for entry in entries if entry.is_folder],
    )
    entries.sort(key=lambda entry: entry.offset)
    starts = [entry.offset for entry in entries] + [end.offset]
    if starts[0] != 0:
        raise _refuse(None, "has bytes before its first record")
    return tuple(_check_local(file, entry, following) for entry, following in zip(entries, starts[1:], strict=True))
