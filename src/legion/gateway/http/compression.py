"""Compressed bodies, in both directions; inflating is bounded while it goes, so no body becomes more than it may."""

from __future__ import annotations

import zlib

from isal import igzip

from legion.gateway.http.refusal import Refusal

# zlib's own sign for gzip or zlib, whichever the data says.
_EITHER = 32 + zlib.MAX_WBITS
KNOWN = frozenset({"gzip", "x-gzip", "deflate"})
# Less is not worth it, and more would hold up the loop.
_LEAST, _MOST = 1024, 1024 * 1024


def inflated(body: bytes, limit: int) -> bytes:
    """The body without its compression. Raises Refusal for more than `limit` bytes, or what cannot be inflated."""
    parts: list[bytes] = []
    size = 0
    rest = body
    try:
        # gzip allows several members, one after another.
        while rest:
            inflating = zlib.decompressobj(_EITHER)
            part = inflating.decompress(rest, limit + 1 - size)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise Refusal(413, f"inflated, the body is over the limit of {limit} bytes; send fewer rows")
            if not inflating.eof:
                raise Refusal(400, "the compressed body ends too early; send it whole")
            rest = inflating.unused_data
    except zlib.error:
        raise Refusal(400, "the body is not compressed as its Content-Encoding says") from None
    return b"".join(parts)


def deflated(body: bytes) -> bytes | None:
    """The body in gzip, or None where it is better left as it is."""
    if not _LEAST <= len(body) <= _MOST:
        return None
    smaller: bytes = igzip.compress(body, compresslevel=1)
    return smaller if len(smaller) < len(body) else None
