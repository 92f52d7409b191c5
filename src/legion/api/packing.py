"""`legion.pack`: a model as one portable file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path

import msgspec

from legion.api.event_loop import off_the_loop
from legion.api.progress import LOGGED, Advance, Progress
from legion.api.settings import Model, cache_folder, path_of
from legion.reference import Reference
from legion.reference import parse as parse_reference
from legion.toolchain.export import Exported, Wish
from legion.toolchain.packing import make_artifact


class Packed(msgspec.Struct, frozen=True):
    """A packed artifact, accepted wherever a path is. `size` is in bytes, `digest` is `sha256:<hex>`."""

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
    golden: str | PathLike[str] | None = None,
    jvm_options: Sequence[str] = (),
    progress: Progress = LOGGED,
) -> Packed:
    """Pack a model into one portable file, together with its answers to its example requests.

    `model`: a folder (an MLflow model, or one with its own legion.model.yaml), a model's JAR, `runs:/ID/PATH` or
    `models:/NAME@ALIAS`. `output`: the file, or a folder for NAME-VERSION.zip; the current folder by default.
    `name` and `version` default to the model's own. `env`: the environment to run the model in while packing: auto,
    local, uv, conda or docker. `golden`: a JSON file of example requests, for a JAR or a folder with its own
    manifest. `jvm_options`: options of a JAR's Java virtual machine, such as -Xmx512m.

    Raises UsageError for what is not a model, RefusedError for one that cannot be packed (ManifestError,
    ArchiveError, EnvironmentRefused), OutsideError where the registry, the environment or the model fails.
    """
    wish = Wish(name, version, path_of(output), env)
    reference = parse_reference(os.fspath(model))
    return packed(made_from(reference, wish, golden=path_of(golden), jvm_options=jvm_options, progress=progress))


def made_from(
    reference: Reference,
    wish: Wish,
    *,
    golden: Path | None = None,
    jvm_options: Sequence[str] = (),
    progress: Progress = LOGGED,
) -> Exported:
    """What the toolchain makes of a reference."""
    return off_the_loop(
        lambda: make_artifact(
            reference,
            wish,
            cache=cache_folder(),
            say=progress.say,
            packing=packing_bar(progress),
            examples=golden,
            options=tuple(jvm_options),
        )
    )


def packing_bar(progress: Progress) -> Callable[[int], AbstractContextManager[Advance]]:
    """The toolchain's way to tell how many bytes are packed."""
    return lambda total: progress.bar("packing", total)


def packed(made: Exported) -> Packed:
    """What the toolchain made, as the API returns it."""
    model = made.manifest.model
    return Packed(made.path, made.digest, made.path.stat().st_size, model.name, model.version)
