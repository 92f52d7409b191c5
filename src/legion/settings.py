"""What an environment says of Legion's folders, gateway and token. Pure: the caller hands the environment in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_GATEWAY = "http://127.0.0.1:5001"

Environ = Mapping[str, str]


def cache_folder(environ: Environ) -> Path:
    """Where unpacked artifacts and model environments are kept: LEGION_CACHE, else the user's cache folder."""
    return _folder(environ, "LEGION_CACHE", "XDG_CACHE_HOME", "~/.cache")


def state_folder(environ: Environ) -> Path:
    """What must outlive a restart: LEGION_STATE, else the user's state folder."""
    return _folder(environ, "LEGION_STATE", "XDG_STATE_HOME", "~/.local/state")


def gateway_url(environ: Environ, chosen: str | None = None) -> str:
    """The gateway that was chosen, else LEGION_GATEWAY, else port 5001 of this machine."""
    return chosen or environ.get("LEGION_GATEWAY") or DEFAULT_GATEWAY


def token_file(environ: Environ) -> Path:
    """Where a gateway of this user keeps the token of its admin API."""
    return state_folder(environ) / "admin-token"


def admin_token(environ: Environ, url: str = DEFAULT_GATEWAY) -> str | None:
    """LEGION_ADMIN_TOKEN, else what a gateway of this machine and user has left in its file, else None.

    The file's token is for this machine: it is never given for the URL of another one.
    """
    if chosen := environ.get("LEGION_ADMIN_TOKEN"):
        return chosen.strip()
    if not _is_this_machine(urlsplit(url).hostname or ""):
        return None
    try:
        return token_file(environ).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _folder(environ: Environ, own: str, base: str, default: str) -> Path:
    if chosen := environ.get(own):
        return Path(chosen).expanduser().absolute()
    return Path(environ.get(base) or default).expanduser() / "legion"


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
