"""`legion.inspect`, `legion.verify` and `legion.unpack`: artifacts as files. Nothing in them is run."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from legion.api.progress import LOGGED, Progress
from legion.artifact import archive, golden, manifest
from legion.artifact.archive import Artifact as Artifact


def inspect(artifact: str | PathLike[str]) -> Artifact:
    """Read an artifact's description; nothing in it is unpacked or run.

    The result has `path`, `digest` (`sha256:<hex>`), `manifest` (`.model.name`, `.model.version` …), `members`
    (each with `name` and `size` in bytes) and `size`, the bytes of all members once they are unpacked.
    Raises ArchiveError for a file that is not an artifact or not a safe one, ManifestError.
    """
    return archive.open_artifact(Path(artifact).expanduser())


def verify(artifact: str | PathLike[str], *, progress: Progress = LOGGED) -> Artifact:
    """Check that an artifact is complete and safe: every record, every byte's checksum, the manifest.

    Returns what `inspect` does. Raises RefusedError (ArchiveError, ManifestError) with the first problem found.
    """
    opened = inspect(artifact)
    with progress.bar("verifying", opened.size) as advance:
        archive.verify(opened, advance=advance)
    if any(member.name == golden.FILE_NAME for member in opened.members):
        golden.parse(opened.read(golden.FILE_NAME))
    return opened


def unpack(artifact: str | PathLike[str], folder: str | PathLike[str], *, progress: Progress = LOGGED) -> Artifact:
    """Unpack an artifact into a folder that is new or empty. Either all of it is written or nothing.

    Returns what `inspect` does. Raises ArchiveError, ManifestError, UsageError where the folder holds something
    already, OutsideError where the disk fails.
    """
    opened = inspect(artifact)
    with progress.bar("unpacking", opened.size) as advance:
        archive.unpack(opened, Path(folder).expanduser(), advance=advance)
    return opened


def manifest_of(artifact: Artifact) -> dict[str, Any]:
    """The artifact's manifest, with the keys of its file in the file's order."""
    return manifest.as_tree(artifact.manifest)
