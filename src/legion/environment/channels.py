"""conda's channels: from the name or URL in a conda.yaml to the addresses that hold packages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from legion.documents.redaction import redacted
from legion.errors import EnvironmentRefused

# What is asked where a file names no channel.
FALLBACK = "conda-forge"
_HOST = "https://conda.anaconda.org/"
# conda's own meaning of these names.
_SPECIAL = {
    "defaults": ("https://repo.anaconda.com/pkgs/main/", "https://repo.anaconda.com/pkgs/r/"),
    "pkgs/main": ("https://repo.anaconda.com/pkgs/main/",),
    "pkgs/r": ("https://repo.anaconda.com/pkgs/r/",),
    "nodefaults": (),
}
_NAME = re.compile(r"[A-Za-z0-9_][\w.\-]*(?:/[A-Za-z0-9_][\w.\-]*)*")
_PLATFORM = re.compile(r"/(?:noarch|(?:linux|osx|win)-[a-z0-9_]+)/?$")


def addresses(channel: str) -> tuple[str, ...]:
    """The URLs of one channel, most important first, each with a slash at its end.

    A channel is a name such as `conda-forge`, or a URL that begins with https:// or file:///.
    Raises EnvironmentRefused for anything else.
    """
    if channel in _SPECIAL:
        return _SPECIAL[channel]
    if _NAME.fullmatch(channel):
        return (f"{_HOST}{channel}/",)
    if _is_address(channel):
        return (f"{_PLATFORM.sub('', channel).rstrip('/')}/",)
    raise EnvironmentRefused(
        f"the conda channel {redacted(channel)!r} is neither a name nor a URL that begins with https:// or "
        f"file:///; correct channels in the model's conda.yaml"
    )


def _is_address(channel: str) -> bool:
    if not channel.isprintable() or re.search(r"[\s\\\[\]\"'#?]", channel):
        return False
    try:
        parts = urlsplit(channel)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme == "file":
        return not parts.netloc and parts.path.startswith("/")
    return parts.scheme == "https" and bool(parts.hostname)


def all_addresses(channels: Iterable[str]) -> tuple[str, ...]:
    """The URLs of several channels in the order of their priority, each once."""
    found = [address for channel in channels for address in addresses(channel)]
    return tuple(dict.fromkeys(found or addresses(FALLBACK)))
