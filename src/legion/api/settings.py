"""What the API takes from the process that it is used in: the environment, and nothing else."""

from __future__ import annotations

import os
import secrets
from os import PathLike
from pathlib import Path

from legion import settings
from legion.disk import durable, lock, sizes

# A path, or a reference such as models:/NAME@ALIAS.
Model = str | PathLike[str]


def cache_folder() -> Path:
    """Where unpacked artifacts and model environments are kept."""
    return settings.cache_folder(os.environ)


def cache_size() -> int:
    """How many bytes the cache may take. Raises UsageError."""
    return sizes.budget(os.environ)


def state_folder() -> Path:
    """What must outlive a restart."""
    return settings.state_folder(os.environ)


def make_admin_token() -> str:
    """The admin API's token, made where there is none, readable by this user only. Raises OSError."""
    found = settings.admin_token(os.environ)
    if found is not None:
        return found
    path = settings.token_file(os.environ)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock.transient(path.with_suffix(".lock")):
        if (found := settings.admin_token(os.environ)) is None:
            found = secrets.token_urlsafe(32)
            with durable.new_file(path) as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(found.encode())
    return found


def path_of(chosen: str | PathLike[str] | None) -> Path | None:
    """A path that may be left out."""
    return None if chosen is None else Path(chosen).expanduser()
