"""Compressed bodies, in both directions. Inflating is bounded in bytes, in gzip's members and in time."""

from __future__ import annotations

import io
import zlib

from isal import igzip

from legion.gateway.http.offload import Stop, Stopped
from legion.gateway.http.refusal import Refusal

# zlib's own sign for gzip or zlib, whichever the data says.
_EITHER = 32 + zlib.MAX_WBITS
KNOWN = frozenset({"gzip", "x-gzip", "deflate"})
# Less is not worth it, and more would hold up the loop.
_LEAST, _MOST = 1024, 1024 * 1024
# So many members of 64 KiB, as bgzip writes them, are what a frame to a worker holds.
_MEMBERS = 65536
# What is inflated at once, and at most what comes of it: a few milliseconds' work. zlib copies what is left of its
# input at the end of a member, so each member begins with little.
_FIRST, _PIECE = 256, 64 * 1024


def inflated(body: bytes, limit: int, stop: Stop) -> bytes:
    """The body without its compression. Raises Refusal for more than `limit` bytes, or what cannot be inflated.

    `stop` is asked every few milliseconds; where it says so, this raises Stopped.
    """
    rest, found = memoryview(body), io.BytesIO()
    try:
        for _ in range(_MEMBERS):
            if not rest:
                return found.getvalue()
            rest = rest[_inflate_member(rest, found, limit, stop) :]
    except zlib.error:
        raise Refusal(400, "the body is not compressed as its Content-Encoding says") from None
    raise Refusal(400, f"the compressed body has more than {_MEMBERS} members; compress it as a whole")


def _inflate_member(data: memoryview, found: io.BytesIO, limit: int, stop: Stop) -> int:
    """Inflate the member that `data` begins with into `found`; its size in bytes, as it came."""
    inflating = zlib.decompressobj(_EITHER)
    taken, step = 0, _FIRST
    piece: bytes | memoryview = b""
    while not inflating.eof:
        if stop():
            raise Stopped
        if not piece:
            piece = data[taken : taken + step]
            taken += len(piece)
            step = min(2 * step, _PIECE)
        fed = len(piece)
        made = found.write(inflating.decompress(piece, min(_PIECE, limit + 1 - found.tell())))
        if found.tell() > limit:
            raise Refusal(413, f"inflated, the body is over the limit of {limit} bytes; send fewer rows")
        if not (fed or made or inflating.eof):
            raise Refusal(400, "the compressed body ends too early; send it whole")
        piece = inflating.unconsumed_tail
    return taken - len(inflating.unused_data)


def deflated(body: bytes) -> bytes | None:
    """The body in gzip, or None where it is better left as it is."""
    if not _LEAST <= len(body) <= _MOST:
        return None
    smaller: bytes = igzip.compress(body, compresslevel=1)
    return smaller if len(smaller) < len(body) else None
