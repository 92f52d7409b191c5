"""Inflate a stream in blocks of bounded size, so that a bomb costs no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from isal import isal_zlib

from legion.errors import ArchiveError

BLOCK = 1024 * 1024
RAW = -15
GZIP = 31

# The library's stubs call its exception an instance.
_InflateError: type[Exception] = isal_zlib.error  # type: ignore[assignment]


def inflated(chunks: Iterable[bytes], wbits: int, refuse: Callable[[str], ArchiveError]) -> Iterator[bytes]:
    """The bytes of one deflate stream (`RAW` or `GZIP`) in blocks of at most 1 MiB.

    Raises what `refuse` makes of a reason where the stream is damaged, cut short, or has bytes after its end.
    """
    inflater = isal_zlib.decompressobj(wbits=wbits)

    def some(data: bytes) -> bytes:
        try:
            block: bytes = inflater.decompress(data, BLOCK)
        except _InflateError:
            raise refuse("is damaged: it cannot be inflated") from None
        return block

    for chunk in chunks:
        data = chunk
        while data:
            if inflater.eof:
                raise refuse("has bytes after the end of its data")
            block = some(data)
            data = inflater.unconsumed_tail or inflater.unused_data
            yield block
    while not inflater.eof:
        if not (block := some(b"")):
            raise refuse("is cut short")
        yield block
