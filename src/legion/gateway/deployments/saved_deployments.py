"""The deployments that were accepted, on disk: one file each, there whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from legion.disk import durable
from legion.gateway.deployments.declaration import Declaration
from legion.gateway.deployments.variant import Kept

_logger = logging.getLogger("legion.gateway")


class SavedDeployment(msgspec.Struct, frozen=True):
    """What is kept of one deployment; `kept` is by the variants' names."""

    declaration: Declaration
    kept: dict[str, Kept] = {}


class SavedDeployments:
    """The entries under `folder`. Names were checked to be plain when they were declared."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, entry: SavedDeployment) -> None:
        """Keep this in place of what was kept of the deployment. Raises OSError."""
        with durable.new_file(self._path(entry.declaration.name)) as file:
            file.write(msgspec.json.encode(entry))

    def remove(self, name: str) -> None:
        """Forget the deployment."""
        self._path(name).unlink(missing_ok=True)

    def read(self) -> list[SavedDeployment]:
        """Every entry, by name; a file that cannot be read is left where it is, and said."""
        entries = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                entries.append(_read(path))
            except (OSError, ValueError, RecursionError) as error:
                _logger.error("%s cannot be read (%s) and is not restored; remove it or deploy it again", path, error)
        return entries

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _read(path: Path) -> SavedDeployment:
    found = msgspec.json.decode(path.read_bytes(), type=SavedDeployment)
    name = found.declaration.name
    if name != path.stem:
        # It would be kept under its own name from then on, and come back from this file after it was removed.
        raise ValueError(f"it holds the deployment {name!r}")
    if not found.declaration.variants:
        raise ValueError("it has no variants")
    return found
