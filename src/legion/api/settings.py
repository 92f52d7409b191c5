"""What the Python API takes from the process that it is used in: the environment, and a logger for what goes on."""

from __future__ import annotations

import logging
import os
from os import PathLike
from pathlib import Path

# What goes on during long work, a line at a time.
say = logging.getLogger("legion").info

Model = str | PathLike[str]


def cache_folder() -> Path:
    """Where unpacked artifacts and model environments are kept: LEGION_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("LEGION_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "legion"


def path_of(chosen: str | PathLike[str] | None) -> Path | None:
    """A path that may be left out."""
    return None if chosen is None else Path(chosen).expanduser()
