"""What the command line reads from the environment, in one place."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from legion.artifact import durable

DEFAULT_GATEWAY = "http://127.0.0.1:5001"


def cache_folder() -> Path:
    """Where unpacked artifacts and model environments are kept: LEGION_CACHE, else the user's cache folder."""
    return _chosen("LEGION_CACHE") or _base("XDG_CACHE_HOME", ".cache") / "legion"


def state_folder() -> Path:
    """What must outlive a restart: LEGION_STATE, else the user's state folder."""
    return _chosen("LEGION_STATE") or _base("XDG_STATE_HOME", ".local/state") / "legion"


def gateway_url() -> str:
    """The gateway that is asked where none is named: LEGION_GATEWAY, else the one of `legion up`."""
    return os.environ.get("LEGION_GATEWAY") or DEFAULT_GATEWAY


def admin_token_file() -> Path:
    """Where a gateway on this machine keeps its token."""
    return state_folder() / "admin-token"


def admin_token() -> str | None:
    """The admin API's token: LEGION_ADMIN_TOKEN, else what a gateway of this user made, None where there is none."""
    if token := os.environ.get("LEGION_ADMIN_TOKEN"):
        return token
    try:
        return admin_token_file().read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def make_admin_token() -> str:
    """The same, made where there is none, for this user's eyes only. Raises OSError."""
    found = admin_token()
    if found is not None:
        return found
    path = admin_token_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with durable.locked(path.with_suffix(".lock")):
        if (found := admin_token()) is None:
            found = secrets.token_urlsafe(32)
            with durable.new_file(path) as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(found.encode())
    return found


def _chosen(variable: str) -> Path | None:
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser().absolute() if chosen else None


def _base(variable: str, default: str) -> Path:
    base = os.environ.get(variable)
    return Path(base) if base else Path.home() / default
