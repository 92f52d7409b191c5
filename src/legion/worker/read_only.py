"""Imports from the model's folder leave nothing in it: it is shared by all who serve that version, and only read.

Bytecode of everything else is kept as ever, or a large library would be compiled anew at each start.
"""

from __future__ import annotations

import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from typing import Any

_LOADERS: Any = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)


class _Unwritten(SourceFileLoader):
    """A module's source, compiled and not written down."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Called to keep the bytecode."""


def import_without_writing(folder: Path) -> None:
    """From now on, modules in `folder` and below are imported so."""
    root = folder.resolve()

    def finder(entry: str) -> FileFinder:
        place = Path(entry).resolve()
        if place != root and root not in place.parents:
            raise ImportError
        return FileFinder(entry, (_Unwritten, SOURCE_SUFFIXES), *_LOADERS)

    sys.path_hooks.insert(0, finder)
    for entry in [entry for entry in sys.path_importer_cache if Path(entry).resolve() == root]:
        del sys.path_importer_cache[entry]
