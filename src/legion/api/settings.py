"""What the Python API takes from the process that it is used in: the environment, and a logger for what goes on."""

from __future__ import annotations

import logging
import os
from os import PathLike
from pathlib import Path

from legion import settings

# What goes on during long work, a line at a time.
say = logging.getLogger("legion").info

Model = str | PathLike[str]


def cache_folder() -> Path:
    """Where unpacked artifacts and model environments are kept."""
    return settings.cache_folder(os.environ)


def path_of(chosen: str | PathLike[str] | None) -> Path | None:
    """A path that may be left out."""
    return None if chosen is None else Path(chosen).expanduser()
