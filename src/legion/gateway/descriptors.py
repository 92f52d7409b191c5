"""File descriptors: as many as this process may have, and some kept from callers."""

from __future__ import annotations

import contextlib
import resource

import msgspec

# More would only let more memory be held by callers who do nothing.
_MOST = 65_536
# For workers, the provisioner and files; a worker takes ten while it starts and five while it runs.
_SPARE = 256


class Shares(msgspec.Struct, frozen=True):
    """How many connections there may be over HTTP and over gRPC, and how many may wait to be accepted: these come all
    at once, before any is ended for them."""

    http: int
    grpc: int
    backlog: int


def raise_limit() -> int:
    """Raise the soft limit of open files as far as it goes, and return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (_MOST if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard))
    wanted = min(hard, _MOST)
    if soft < wanted:
        # macOS has a limit of its own below the hard one.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            return wanted
    return soft


def share(limit: int, *, grpc: bool) -> Shares:
    """Share out this many; what is left is for workers."""
    limit = min(limit, _MOST)
    calls = limit // 8 if grpc else 0
    spare = min(limit // 4, max(_SPARE, limit // 16))
    return Shares(limit - calls - spare, calls, min(spare // 2, 2048))
