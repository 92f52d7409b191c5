"""`legion.pack`, `legion.inspect` and `legion.verify`: models as files."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

import msgspec

from legion.api.event_loop import off_the_loop
from legion.api.settings import Model, cache_folder, path_of, say
from legion.artifact import archive, golden
from legion.artifact.archive import Artifact
from legion.reference import parse as parse_reference
from legion.toolchain.export import Exported, Wish
from legion.toolchain.packing import make_artifact


class Packed(msgspec.Struct, frozen=True):
    """An artifact that was made; it may be given wherever a path is. `size` is in bytes, `digest` `sha256:<hex>`."""

    path: Path
    digest: str
    size: int
    name: str
    version: str

    def __fspath__(self) -> str:
        return str(self.path)


def pack(
    model: Model,
    output: str | PathLike[str] | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    env: str = "auto",
) -> Packed:
    """Pack a model into one portable file, with the answers it gives to its examples.

    `model`: a folder (an MLflow model, or one with its own legion.model.yaml), `runs:/ID/PATH` or
    `models:/NAME@ALIAS`. `output`: the file, or a folder for NAME-VERSION.zip; the current one if left out.
    `name` and `version` are else the model's own. `env`: where the model is tried: auto, local or uv.

    Raises UsageError for what is no model, RefusedError for one that cannot be packed (ManifestError,
    ArchiveError, EnvironmentRefused), OutsideError where the registry, the environment or the model fails.
    """
    wish = Wish(name, version, path_of(output), env)
    source = parse_reference(os.fspath(model))
    return packed(off_the_loop(lambda: make_artifact(source, wish, cache=cache_folder(), say=say)))


def packed(made: Exported) -> Packed:
    """What the toolchain made, as the API gives it."""
    model = made.manifest.model
    return Packed(made.path, made.digest, made.path.stat().st_size, model.name, model.version)


def inspect(artifact: str | PathLike[str]) -> Artifact:
    """What an artifact says of itself; nothing in it is unpacked or run.

    The result has `path`, `digest` (`sha256:<hex>`), `manifest` (`.model.name`, `.model.version` …), `members`
    (each with `name` and `size` in bytes) and `size`, what they inflate to.
    Raises ArchiveError for a file that is no artifact or an unsafe one, ManifestError.
    """
    return archive.open_artifact(Path(artifact).expanduser())


def verify(artifact: str | PathLike[str]) -> Artifact:
    """Check that an artifact is whole and safe: every record, every byte's checksum, the manifest.

    Returns what `inspect` does. Raises RefusedError (ArchiveError, ManifestError) with the first thing wrong.
    """
    opened = inspect(artifact)
    archive.verify(opened)
    if any(member.name == golden.FILE_NAME for member in opened.members):
        golden.parse(opened.read(golden.FILE_NAME))
    return opened
