"""Whatever holds a model as an artifact: a folder with a manifest as it is, an MLflow model, a JAR, a reference."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from legion.artifact import manifest as manifests
from legion.artifact.manifest import Manifest
from legion.errors import UsageError
from legion.reference import Reference
from legion.registry.store import pull
from legion.toolchain.export import Exported, Packing, Say, Wish, destination, export, write
from legion.toolchain.jar import make_from_jar


def make_artifact(
    source: Reference,
    wish: Wish,
    *,
    cache: Path,
    say: Say,
    packing: Packing | None = None,
    examples: Path | None = None,
    options: tuple[str, ...] = (),
) -> Exported:
    """Pack what `source` means: a folder with a manifest, an MLflow model folder, a JAR, runs:/, models:/ or a URI.

    A JAR's golden requests may come from the file `examples`, and `options` go to its Java virtual machine. Raises
    UsageError for another path, ManifestError, ArchiveError, RegistryError, WorkerError and what making the model's
    environment raises.
    """
    is_jar = source.scheme == "path" and source.path.suffix == ".jar" and source.path.is_file()
    if is_jar:
        return make_from_jar(source.path, wish, examples=examples, options=options, say=say, packing=packing)
    if examples is not None or options:
        raise UsageError(f"{source.text} is no JAR, and only a JAR takes --golden and --jvm-option; leave them out")
    if source.scheme == "path":
        folder = source.path
        if not folder.is_dir():
            raise UsageError(
                f"{source.text} is no folder and no JAR; "
                "give a model's folder, its JAR, runs:/ID/PATH or models:/NAME@ALIAS"
            )
        return make_from_folder(
            folder, wish, fallback_name=folder.resolve().name, cache=cache, say=say, packing=packing
        )
    with tempfile.TemporaryDirectory(prefix="legion-pull-") as scratch:
        say(f"fetching {source.text}")
        folder = pull(source, Path(scratch))
        name = source.name if source.name and not source.name.startswith("m-") else source.text.rsplit("/", 1)[-1]
        return make_from_folder(folder, wish, fallback_name=name, cache=cache, say=say, packing=packing)


def make_from_folder(
    folder: Path, wish: Wish, *, fallback_name: str, cache: Path, say: Say, packing: Packing | None = None
) -> Exported:
    """Pack a folder as it is where it has a manifest, else as the MLflow model that it holds."""
    path = next((folder / name for name in manifests.FILE_NAMES if (folder / name).is_file()), None)
    if path is None:
        return export(folder, wish, fallback_name=fallback_name, cache=cache, say=say, packing=packing)
    manifest = _wished(manifests.parse(path.read_bytes(), path.name), wish)
    out = destination(wish.out, manifest)
    return Exported(out, write(folder, manifest, out, packing), manifest)


def _wished(manifest: Manifest, wish: Wish) -> Manifest:
    """The folder's own manifest, under the name and version that were asked for."""
    model = msgspec.structs.replace(
        manifest.model, name=wish.name or manifest.model.name, version=wish.version or manifest.model.version
    )
    return msgspec.structs.replace(manifest, model=model)
