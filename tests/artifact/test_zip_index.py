"""Every way in which the records of a ZIP can lie is refused, the member named; what is valid opens."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from zip_forge import Forged, deflated, forge, good, with_member

from legion.artifact.archive import Artifact, open_artifact, verify
from legion.artifact.limits import Limits
from legion.errors import ArchiveError

DATA = b"data"
CRC = zlib.crc32(DATA)
PACKED = len(deflated(DATA))


def opened(tmp_path: Path, data: bytes, **options: Any) -> Artifact:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    artifact = open_artifact(path, **options)
    verify(artifact)
    return artifact


def refused(tmp_path: Path, data: bytes, **options: Any) -> ArchiveError:
    with pytest.raises(ArchiveError) as found:
        opened(tmp_path, data, **options)
    assert "\n" not in str(found.value)
    return found.value


def test_the_forge_makes_good_archives(tmp_path: Path) -> None:
    artifact = opened(tmp_path, with_member())
    assert artifact.read("x.bin") == DATA
    assert [member.name for member in artifact.members] == ["legion.model.yaml", "conda.yaml", "x.bin"]


NAMES = {
    "up": "../x",
    "up inside": "a/../../x",
    "dot": "a/./x",
    "absolute": "/etc/x",
    "drive": "C:/x",
    "drive, relative": "c:x",
    "backslash": "a\\x",
    "NUL": "a\x00x",
    "newline": "a\nx",
    "escape": "a\x1bx",
    "C1 control": "a\x85x",
    "line separator": "a\u2028x",
    "empty": "",
    "empty segment": "a//x",
    "trailing dot": "a./x",
    "trailing space": "x ",
    "dots": "...",
    "long segment": "x" * 256,
    "long": "/".join(["x" * 200] * 11),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_unsafe_names(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path, with_member(name=name.encode()))
    assert error.member == name


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    assert "UTF-8" in str(refused(tmp_path, with_member(name=b"\xff\xfe")))
    assert "UTF-8" in str(refused(tmp_path, with_member(name="é".encode(), flags=0, made_by=0)))
    assert opened(tmp_path, with_member(name="é".encode(), flags=0, made_by=3)).read("é") == DATA


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x", "x"),
        ("readme", "README"),
        ("stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("x", "x/y"),
        ("x/y", "X"),
        ("A/x", "a/y"),
        ("x/", "x"),
        ("x/", "X/"),
        ("x/", "x/"),
    ],
)
def test_names_that_collide_on_some_file_system(tmp_path: Path, first: str, second: str) -> None:
    members = [
        Forged(name.encode(), b"" if name.endswith("/") else DATA, mode=0o040755 if name.endswith("/") else 0o100644)
        for name in (first, second)
    ]
    assert refused(tmp_path, forge(*good(), *members)).member is not None


@pytest.mark.parametrize(
    "mode",
    [0o120777, 0o020666, 0o060666, 0o010644, 0o140755, 0o040755],
    ids=["symlink", "character device", "block device", "pipe", "socket", "folder under a file's name"],
)
@pytest.mark.parametrize("made_by", [3, 0], ids=["by Unix", "by DOS"])
def test_all_that_is_no_file(tmp_path: Path, mode: int, made_by: int) -> None:
    assert refused(tmp_path, with_member(mode=mode, made_by=made_by)).member == "x.bin"


def test_a_folder_and_its_contradictions(tmp_path: Path) -> None:
    assert opened(tmp_path, with_member(name=b"d/", data=b"", mode=0o040755))
    assert opened(tmp_path, with_member(name=b"d/", data=b"", mode=0, method=0, made_by=0, attributes=0x10))
    refused(tmp_path, with_member(name=b"d/", data=b"full", mode=0o040755))
    refused(tmp_path, with_member(name=b"d/", data=b"", mode=0o100644))
    refused(tmp_path, with_member(mode=0, made_by=0, attributes=0x10))


@pytest.mark.parametrize("flags", [0x801, 0x841, 0x2800], ids=["old", "strong", "masked"])
def test_encrypted_members(tmp_path: Path, flags: int) -> None:
    assert "encrypted" in str(refused(tmp_path, with_member(flags=flags)))


def test_encryption_by_extra_field(tmp_path: Path) -> None:
    assert "encrypted" in str(refused(tmp_path, with_member(extra=struct.pack("<HH", 0x9901, 0))))


@pytest.mark.parametrize("flags", [0x820, 0x810, 0x4800, 0x8800])
def test_unknown_flags(tmp_path: Path, flags: int) -> None:
    assert refused(tmp_path, with_member(flags=flags)).member == "x.bin"


@pytest.mark.parametrize("method", [1, 6, 9, 12, 14, 93, 95, 97, 98, 99])
def test_other_methods(tmp_path: Path, method: int) -> None:
    error = refused(tmp_path, with_member(method=method))
    assert str(method) in str(error)
    assert error.member == "x.bin"


LOCAL_LIES = {
    "name": {"name": b"y.bin"},
    "longer name": {"name": b"x.bin2"},
    "method": {"method": 0},
    "flags": {"flags": 0},
    "crc": {"crc": 1},
    "packed": {"packed": PACKED + 1},
    "size": {"size": len(DATA) + 1},
    "sizes left out": {"crc": 0, "packed": 0, "size": 0},
}


@pytest.mark.parametrize("lie", LOCAL_LIES.values(), ids=LOCAL_LIES)
def test_a_local_record_unlike_the_directory(tmp_path: Path, lie: Any) -> None:
    assert refused(tmp_path, with_member(local=lie)).member == "x.bin"


def test_stored_data_must_be_as_long_as_it_says(tmp_path: Path) -> None:
    assert refused(tmp_path, with_member(method=0, size=3)).member == "x.bin"


CENTRAL_LIES = {
    "offset into another member": {"offset": 0},
    "offset past the end": {"offset": 10**6},
    "disk": {"disk": 1},
    "packed": {"packed": PACKED + 3},
    "extra cut short": {"extra": b"\x01\x00\xff\xff"},
    "extra of three bytes": {"extra": b"\0\0\0"},
    "extra twice": {"extra": struct.pack("<HHHH", 7, 0, 7, 0)},
    "64-bit sizes missing": {"size": 0xFFFFFFFF, "extra": struct.pack("<HH", 1, 0)},
    "64-bit sizes unasked for": {"extra": struct.pack("<HHQ", 1, 8, 4)},
}


@pytest.mark.parametrize("lie", CENTRAL_LIES.values(), ids=CENTRAL_LIES)
def test_a_directory_that_lies(tmp_path: Path, lie: Any) -> None:
    refused(tmp_path, with_member(central=lie))


def test_overlapping_members(tmp_path: Path) -> None:
    """Two entries over one piece of data: the way to a bomb without any ratio."""
    inner = Forged(b"b.bin")
    start = len(b"".join(member.records(0)[0] for member in good()))
    # The first one's data is the whole second member, record and all; both entries are true for themselves.
    outer = Forged(b"a.bin", inner.records(0)[0], method=0)
    inside = start + len(outer.records(0)[0]) - len(outer.data)
    inner.central = {"offset": inside}
    data = forge(*good(), outer, inner)
    cut = inside + len(outer.data)
    data = data[:cut] + data[cut + len(outer.data) :]
    end = struct.unpack("<4s4H2IH", data[-22:])
    data = data[:-22] + struct.pack("<4s4H2IH", *end[:6], end[6] - len(outer.data), 0)
    assert refused(tmp_path, data).member == "a.bin"


PLACES = {
    "before the first": {"prefix": b"#!/bin/sh\n"},
    "before the directory": {"gap": b"gap"},
    "behind the directory": {"directory_extra": b"gap"},
    "after the last": {"suffix": b"tail"},
    "after the last, zeros": {"suffix": bytes(4)},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_bytes_that_belong_to_no_record(tmp_path: Path, place: Any) -> None:
    refused(tmp_path, forge(*good(), **place))


def test_bytes_between_members(tmp_path: Path) -> None:
    assert refused(tmp_path, with_member(before=b"PK")).member == "conda.yaml"
    assert refused(tmp_path, with_member(after=b"PK")).member == "x.bin"


def test_parts_of_several_and_wrong_counts(tmp_path: Path) -> None:
    refused(tmp_path, forge(*good(), disk=1))
    refused(tmp_path, forge(*good(), count=1))
    refused(tmp_path, forge(*good(), count=3))
    refused(tmp_path, forge())


def test_a_comment_is_no_tail(tmp_path: Path) -> None:
    assert opened(tmp_path, forge(*good(), comment=b"made by hand"))


@pytest.mark.parametrize("cut", [1, 21, 22, 60, 150])
def test_cut_short(tmp_path: Path, cut: int) -> None:
    refused(tmp_path, with_member()[:-cut])


@pytest.mark.parametrize("data", [b"", b"PK", b"plain text", b"\x7fELF" + bytes(100)])
def test_no_archive_at_all(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data)


def test_a_zip_behind_another_file_is_none(tmp_path: Path) -> None:
    refused(tmp_path, b"%PDF-1.7\n" + with_member())


@pytest.mark.parametrize("signature", [b"PK\x07\x08", b""], ids=["signed", "bare"])
@pytest.mark.parametrize("form", ["<3I", "<IQQ"], ids=["32 bit", "64 bit"])
def test_sizes_behind_the_data(tmp_path: Path, signature: bytes, form: str) -> None:
    after = signature + struct.pack(form, CRC, PACKED, len(DATA))
    blank = {"crc": 0, "packed": 0, "size": 0}
    assert opened(tmp_path, with_member(flags=0x808, after=after, local=blank)).read("x.bin") == DATA
    wrong = signature + struct.pack(form, CRC, PACKED, len(DATA) + 1)
    assert refused(tmp_path, with_member(flags=0x808, after=wrong, local=blank)).member == "x.bin"
    assert refused(tmp_path, with_member(flags=0x808, local=blank)).member == "x.bin"
    assert refused(tmp_path, with_member(after=after)).member == "x.bin"


def test_64_bit_records(tmp_path: Path) -> None:
    extra = struct.pack("<HHQQ", 1, 16, len(DATA), PACKED)
    full = {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "extra": extra}
    plain = with_member(local=full, central=full)
    assert opened(tmp_path, plain).read("x.bin") == DATA
    body, end = plain[:-22], struct.unpack("<4s4H2IH", plain[-22:])
    _, _, _, _, count, size, offset, _ = end

    def wide(count: int = count, size: int = size, offset: int = offset, at: int = len(body), disks: int = 1) -> bytes:
        record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, disks)
        last = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, 0xFFFFFFFF, 0)
        return body + record + locator + last

    assert opened(tmp_path, wide()).read("x.bin") == DATA
    for lie in (wide(count=2), wide(size=size - 1), wide(offset=1), wide(at=0), wide(disks=2)):
        refused(tmp_path, lie)


def test_too_many_members(tmp_path: Path) -> None:
    data = forge(*good(), *(Forged(f"{number}".encode()) for number in range(9)))
    assert opened(tmp_path, data, limits=Limits(members=11))
    assert "10" in str(refused(tmp_path, data, limits=Limits(members=10)))


def test_too_many_bytes(tmp_path: Path) -> None:
    data = with_member(data=bytes(100_000))
    assert opened(tmp_path, data, limits=Limits(total_bytes=101_000))
    assert refused(tmp_path, data, limits=Limits(total_bytes=99_999)).member == "x.bin"


def test_too_high_a_ratio(tmp_path: Path) -> None:
    data = with_member(data=bytes(3_000_000))
    assert opened(tmp_path, data)
    assert refused(tmp_path, data, limits=Limits(ratio_from=1_000_000)).member == "x.bin"


def test_a_directory_too_large_to_read(tmp_path: Path) -> None:
    data = with_member(central={"comment": b"x" * 60_000})
    assert opened(tmp_path, data)
    refused(tmp_path, data, limits=Limits(directory_bytes=50_000))
