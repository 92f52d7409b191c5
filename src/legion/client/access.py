"""Where the gateway is and what opens its admin API, from an environment that the caller hands in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:5001"


def gateway_url(environ: Mapping[str, str], chosen: str | None = None) -> str:
    """The gateway that was chosen, else LEGION_GATEWAY, else port 5001 of this machine."""
    return chosen or environ.get("LEGION_GATEWAY") or DEFAULT_URL


def admin_token(environ: Mapping[str, str], url: str) -> str | None:
    """LEGION_ADMIN_TOKEN, else what the gateway of this machine and user has left in its state folder.

    The file's token is for this machine: it is never given for the URL of another one.
    """
    if chosen := environ.get("LEGION_ADMIN_TOKEN"):
        return chosen.strip()
    if not _is_this_machine(urlsplit(url).hostname or ""):
        return None
    try:
        return (_state_folder(environ) / "admin-token").read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _state_folder(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("LEGION_STATE"):
        return Path(chosen).expanduser()
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path("~/.local/state").expanduser()) / "legion"


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
