"""Whatever holds a model as an artifact: a folder with a manifest as it is, an MLflow model, a JAR, a reference."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec

from legion.artifact import manifest as manifests
from legion.artifact.manifest import Manifest
from legion.artifact.plan import GOLDEN, plan_for
from legion.environment import java
from legion.environment.interpreter import interpreter
from legion.environment.spec import read_spec
from legion.errors import UsageError
from legion.reference import Reference
from legion.registry.store import pull
from legion.toolchain.export import Exported, Packing, Say, Wish, destination, export, write
from legion.toolchain.jar import make_from_jar
from legion.toolchain.recording import read_examples, record


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

    The golden requests of a JAR, or of a folder with a manifest, may come from the file `examples`; `options` go to a
    JAR's Java virtual machine. Raises
    UsageError for another path, ManifestError, ArchiveError, RegistryError, WorkerError and what making the model's
    environment raises.
    """
    is_jar = source.scheme == "path" and source.path.suffix == ".jar" and source.path.is_file()
    if is_jar:
        return make_from_jar(source.path, wish, examples=examples, options=options, say=say, packing=packing)
    if options:
        raise UsageError(f"{source.text} is no JAR, and only a JAR takes --jvm-option; leave it out")
    if source.scheme == "path":
        folder = source.path
        if not folder.is_dir():
            raise UsageError(
                f"{source.text} is no folder and no JAR; "
                "give a model's folder, its JAR, runs:/ID/PATH or models:/NAME@ALIAS"
            )
        name = folder.resolve().name
        return make_from_folder(
            folder, wish, fallback_name=name, cache=cache, say=say, packing=packing, examples=examples
        )
    if examples is not None:
        raise _no_golden(source.text)
    with tempfile.TemporaryDirectory(prefix="legion-pull-") as scratch:
        say(f"fetching {source.text}")
        folder = pull(source, Path(scratch))
        name = source.name if source.name and not source.name.startswith("m-") else source.text.rsplit("/", 1)[-1]
        return make_from_folder(folder, wish, fallback_name=name, cache=cache, say=say, packing=packing)


def make_from_folder(
    folder: Path,
    wish: Wish,
    *,
    fallback_name: str,
    cache: Path,
    say: Say,
    packing: Packing | None = None,
    examples: Path | None = None,
) -> Exported:
    """Pack a folder as it is where it has a manifest, else as the MLflow model that it holds.

    With `examples` a model with a manifest is asked for its golden answers to these requests.
    """
    path = next((folder / name for name in manifests.FILE_NAMES if (folder / name).is_file()), None)
    if path is None and examples is not None:
        raise _no_golden(str(folder))
    if path is None:
        return export(folder, wish, fallback_name=fallback_name, cache=cache, say=say, packing=packing)
    manifest = _wished(manifests.parse(path.read_bytes(), path.name), wish)
    out = destination(wish.out, manifest)
    if examples is None:
        return Exported(out, write(folder, manifest, out, packing), manifest)
    requests = read_examples(examples)
    with tempfile.TemporaryDirectory(prefix="legion-pack-") as scratch:
        tree = Path(scratch) / "model"
        shutil.copytree(folder, tree, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", GOLDEN))
        python = _interpreter(manifest, tree, wish.env, cache, say)
        count = record(tree, plan_for(tree, manifest, reference=True), python, requests, examples, say)
        return Exported(out, write(tree, manifest, out, packing), manifest, count)


def _interpreter(manifest: Manifest, folder: Path, env: str, cache: Path, say: Say) -> Path:
    binaries = manifest.binaries
    if binaries.dependencies == "docker":
        name = manifest.model.name
        raise UsageError(f"{name} runs in an image, where it is not tried; write its legion.golden.json by hand")
    if binaries.type == "java":
        return java.interpreter(env)
    return interpreter(read_spec(folder, binaries.conda_path), env, cache=cache, say=say)


def _no_golden(text: str) -> UsageError:
    return UsageError(
        f"{text} has no manifest, and an MLflow model's requests are its input example; leave out --golden"
    )


def _wished(manifest: Manifest, wish: Wish) -> Manifest:
    """The folder's own manifest, under the name and version that were asked for."""
    model = msgspec.structs.replace(
        manifest.model, name=wish.name or manifest.model.name, version=wish.version or manifest.model.version
    )
    return msgspec.structs.replace(manifest, model=model)
