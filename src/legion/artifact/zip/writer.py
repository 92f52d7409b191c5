"""A ZIP whose bytes depend on its members alone: no clock, no user, no Python or zlib version in it.

`zipfile` writes valid files, but what it writes differs between Python releases, and its one thread at zlib's
speed is what packing would wait for. Here every block of a member is deflated on its own by ISA-L, in several
threads, and the records come out in one pass, so that the digest is known when the last is written.
"""

from __future__ import annotations

import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from isal import isal_zlib

from legion.artifact.zip import records as records

BLOCK = 1024 * 1024
# ISA-L's levels 1 and 2 give the same bytes on every x86 processor; level 3 does not.
_LEVEL = 1
# A block that shrinks further than this keeps its first part as it is, so that no artifact looks like a bomb.
_MAX_RATIO = 100
_PLAIN = BLOCK // 64
# An empty last block (final, static Huffman codes, end of block).
_LAST = b"\x03\x00"

_MADE_BY = 3 << 8 | 45
_NEEDED = 20
_NEEDED_64 = 45
_FLAGS = records.UTF8 | records.DESCRIPTOR
# 1980-01-01 00:00, the first moment that the format knows.
_TIME, _DATE = 0, 0x21
_MODE = (stat.S_IFREG | 0o644) << 16
# Deflate adds at most five bytes to 64 KiB; from here on a member is written with 64-bit sizes.
_ZIP64_FROM = 0xFF000000


class _Written(NamedTuple):
    name: bytes
    crc: int
    packed: int
    size: int
    offset: int


class _Block(NamedTuple):
    data: bytes
    crc: int
    size: int


def _raw_deflate(data: bytes | memoryview) -> bytes:
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -15)
    packed: bytes = compressor.compress(data) + compressor.flush(isal_zlib.Z_FULL_FLUSH)
    return packed


def deflate_block(data: bytes) -> bytes:
    """Raw deflate of one block, ended on a byte and not final, so that blocks can follow one another."""
    packed = _raw_deflate(data)
    if len(data) <= _PLAIN or len(packed) * _MAX_RATIO >= len(data):
        return packed
    stored = struct.pack("<BHH", 0, _PLAIN, _PLAIN ^ 0xFFFF) + data[:_PLAIN]
    return stored + _raw_deflate(memoryview(data)[_PLAIN:])


def _block(data: bytes) -> _Block:
    return _Block(deflate_block(data), isal_zlib.crc32(data), len(data))


class ZipWriter:
    """Writes members to `sink` in the order they are given; `finish` writes the directory."""

    def __init__(self, sink: Callable[[bytes], object], threads: int) -> None:
        self._sink = sink
        self._pool = ThreadPoolExecutor(threads, "deflate")
        self._threads = threads
        self._offset = 0
        self._members: list[_Written] = []

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _write(self, data: bytes) -> None:
        self._sink(data)
        self._offset += len(data)

    def _deflated(self, blocks: Iterable[bytes]) -> Iterator[_Block]:
        """The blocks deflated, in their order; a bounded number of them is in memory at once."""
        ahead: deque[Future[_Block]] = deque()
        for data in blocks:
            ahead.append(self._pool.submit(_block, data))
            if len(ahead) > 2 * self._threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def add(self, name: str, size: int, blocks: Iterable[bytes]) -> int:
        """Write one file and return the bytes that were read; `size` is what is expected of it.

        Blocks are of BLOCK bytes but for the last: their borders are part of what makes the output the same.
        """
        raw, wide, start = name.encode(), size >= _ZIP64_FROM, self._offset
        sizes = records.FULL_32 if wide else 0
        extra = struct.pack("<HHQQ", records.ZIP64_FIELD, 16, 0, 0) if wide else b""
        needed = _NEEDED_64 if wide else _NEEDED
        self._write(
            records.LOCAL.pack(
                records.LOCAL_SIGNATURE,
                needed,
                _FLAGS,
                records.DEFLATED,
                _TIME,
                _DATE,
                0,
                sizes,
                sizes,
                len(raw),
                len(extra),
            )
            + raw
            + extra
        )
        data_start, crc, count = self._offset, 0, 0
        for block in self._deflated(blocks):
            self._write(block.data)
            crc = isal_zlib.crc32_combine(crc, block.crc, block.size)
            count += block.size
        self._write(_LAST)
        packed = self._offset - data_start
        form = records.DESCRIPTOR_64 if wide else records.DESCRIPTOR_32
        self._members.append(_Written(raw, crc, packed, count, start))
        if count == size:
            self._write(records.DESCRIPTOR_SIGNATURE + form.pack(crc, packed, count))
        return count

    def _central(self, member: _Written) -> bytes:
        wide = member.size >= _ZIP64_FROM
        long = [member.size, member.packed] if wide else []
        if far := member.offset >= records.FULL_32:
            long.append(member.offset)
        extra = struct.pack(f"<HH{len(long)}Q", records.ZIP64_FIELD, 8 * len(long), *long) if long else b""
        head = records.CENTRAL.pack(
            records.CENTRAL_SIGNATURE,
            _MADE_BY,
            _NEEDED_64 if long else _NEEDED,
            _FLAGS,
            records.DEFLATED,
            _TIME,
            _DATE,
            member.crc,
            records.FULL_32 if wide else member.packed,
            records.FULL_32 if wide else member.size,
            len(member.name),
            len(extra),
            0,
            0,
            0,
            _MODE,
            records.FULL_32 if far else member.offset,
        )
        return head + member.name + extra

    def finish(self) -> None:
        """Write the directory and the end records."""
        start, count = self._offset, len(self._members)
        for member in self._members:
            self._write(self._central(member))
        end, size = self._offset, self._offset - start
        if count >= records.FULL_16 or size >= records.FULL_32 or start >= records.FULL_32:
            rest = records.END_64.size - 12
            needed = _NEEDED_64
            self._write(
                records.END_64.pack(records.END_64_SIGNATURE, rest, _MADE_BY, needed, 0, 0, count, count, size, start)
                + records.LOCATOR.pack(records.LOCATOR_SIGNATURE, 0, end, 1)
            )
        count, size, start = (
            min(count, records.FULL_16),
            min(size, records.FULL_32),
            min(start, records.FULL_32),
        )
        self._write(records.END.pack(records.END_SIGNATURE, 0, 0, count, count, size, start, 0))
