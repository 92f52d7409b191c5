"""What the command line reads from the environment, in one place."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where unpacked artifacts and model environments are kept: LEGION_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("LEGION_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "legion"
