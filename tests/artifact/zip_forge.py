"""Builds ZIP files record by record, so that any record can lie."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

MANIFEST = b"""\
binaries: {type: python, dependencies: conda, conda_path: conda.yaml}
model: {name: wine, version: 1.0.0-1, workDir: ., entrypoint: entrypoint}
legionVersion: '1.0'
toolchain: {name: test, version: '1'}
"""
FILES = {"legion.model.yaml": MANIFEST, "conda.yaml": b"dependencies: [python=3.11]\n"}


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@dataclass
class Forged:
    """One member. `local` and `central` override fields of one of its two records; `packed` its data."""

    name: bytes
    data: bytes = b"data"
    method: int = 8
    flags: int = 0x800
    mode: int = 0o100644
    packed: bytes | None = None
    size: int | None = None
    crc: int | None = None
    before: bytes = b""
    after: bytes = b""
    extra: bytes = b""
    made_by: int = 3
    attributes: int = 0
    local: dict[str, Any] | None = None
    central: dict[str, Any] | None = None

    def records(self, offset: int) -> tuple[bytes, bytes]:
        """What stands in the file (from `before` to `after`), and the directory's entry."""
        packed = self.packed
        if packed is None:
            packed = self.data if self.method != 8 else deflated(self.data)
        fields: dict[str, Any] = {
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.data) if self.crc is None else self.crc,
            "packed": len(packed),
            "size": len(self.data) if self.size is None else self.size,
            "name": self.name,
            "extra": self.extra,
            "offset": offset + len(self.before),
            "disk": 0,
            "comment": b"",
        }
        near, far = fields | (self.local or {}), fields | (self.central or {})
        head = struct.pack(
            "<4s5H3I2H",
            b"PK\x03\x04", 20, near["flags"], near["method"], 0, 0x21,
            near["crc"], near["packed"], near["size"], len(near["name"]), len(near["extra"]),
        )  # fmt: skip
        entry = struct.pack(
            "<4s6H3I5H2I",
            b"PK\x01\x02", self.made_by << 8 | 20, 20, far["flags"], far["method"], 0, 0x21,
            far["crc"], far["packed"], far["size"], len(far["name"]), len(far["extra"]), len(far["comment"]),
            far["disk"], 0, self.mode << 16 | self.attributes, far["offset"],
        )  # fmt: skip
        return (
            self.before + head + near["name"] + near["extra"] + packed + self.after,
            entry + far["name"] + far["extra"] + far["comment"],
        )


def forge(
    *members: Forged,
    prefix: bytes = b"",
    gap: bytes = b"",
    suffix: bytes = b"",
    comment: bytes = b"",
    directory_extra: bytes = b"",
    count: int | None = None,
    disk: int = 0,
) -> bytes:
    """A ZIP of the members as they are, with bytes where none belong."""
    body, directory = prefix, b""
    for member in members:
        here, entry = member.records(len(body))
        body += here
        directory += entry
    body += gap
    total = len(members) if count is None else count
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", disk, disk, total, total, len(directory), len(body), len(comment))
    return body + directory + directory_extra + end + comment + suffix


def good() -> list[Forged]:
    """The members of an artifact with nothing wrong."""
    return [Forged(name.encode(), data) for name, data in FILES.items()]


def with_member(**fields: Any) -> bytes:
    """A good artifact and one member more."""
    return forge(*good(), Forged(**{"name": b"x.bin", **fields}))
