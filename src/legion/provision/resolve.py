"""From a MODEL argument to something that runs: fetch, unpack, get its environment, make its plan."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from legion import wire
from legion.artifact import manifest
from legion.artifact.archive import cached, open_artifact, unpacked
from legion.artifact.plan import GOLDEN, plan_for
from legion.disk.cache import EXPORTS, Note, claim, hold, keep, scratch
from legion.environment import docker, java
from legion.environment.interpreter import interpreter
from legion.environment.spec import read_spec
from legion.errors import UsageError
from legion.provision.example import example
from legion.reference import Reference, parse

Say = Callable[[str], None]


class Resolved(msgspec.Struct, frozen=True):
    """A model that can be started: its plan, the interpreter to run it with, an example body or None.

    `digest` is the artifact's, None for a model that was served from its folder.
    """

    plan: wire.Plan
    python: Path
    example: dict[str, Any] | None
    digest: str | None = None


def resolve(text: str, *, env: str, cache: Path, say: Say, digest: str | None = None) -> Resolved:
    """Everything that must be there before a worker starts.

    `digest` is what the registry says of it; where the cache holds that artifact, nothing is fetched.
    Raises ModelReferenceError, UsageError, ArchiveError, ManifestError, RegistryError, EnvironmentBuildError …
    """
    reference = parse(text)
    if reference.scheme == "path":
        return _from_path(reference.path, env=env, cache=cache, say=say)
    kept = None if digest is None else cached(digest, cache)
    if kept is not None:
        return _from_folder(kept, digest, env=env, cache=cache, say=say)
    return _pulled(reference, env=env, cache=cache, say=say)


def _from_path(path: Path, *, env: str, cache: Path, say: Say) -> Resolved:
    if path.is_file():
        return _from_artifact(path, env=env, cache=cache, say=say)
    if not path.is_dir():
        raise UsageError(f"there is no model at {path}; give an artifact, a model folder or models:/NAME@ALIAS")
    if _manifest_in(path) is not None:
        return _from_folder(path, None, env=env, cache=cache, say=say)
    if (path / "MLmodel").is_file():
        packed = _packed(path, path.resolve().name, env=env, cache=cache, say=say)
        return _from_artifact(packed, env=env, cache=cache, say=say)
    raise UsageError(f"{path} holds neither {manifest.FILE_NAME} nor MLmodel; give a model's own folder")


def _from_artifact(path: Path, *, env: str, cache: Path, say: Say) -> Resolved:
    artifact = open_artifact(path)
    return _from_folder(unpacked(artifact, cache), artifact.digest, env=env, cache=cache, say=say)


def _from_folder(folder: Path, digest: str | None, *, env: str, cache: Path, say: Say) -> Resolved:
    source = _manifest_in(folder)
    assert source is not None
    described = manifest.parse(source.read_bytes(), source.name)
    # Making an environment may take longer than what is found is kept for.
    with ExitStack() as using:
        if (held := hold(folder)) is not None:
            using.enter_context(held)
        if described.binaries.dependencies == "docker":
            python = _contained(described, folder, env=env, cache=cache, say=say)
        elif env == "docker":
            raise UsageError(f"{described.model.name} names no image to run in; use another --env than docker")
        elif described.binaries.type == "java":
            python = java.interpreter(env)
        else:
            python = interpreter(read_spec(folder, described.binaries.conda_path), env, cache=cache, say=say)
        keep(hold(folder))
    return Resolved(plan_for(folder.absolute(), described), python, example(folder / GOLDEN), digest)


def _contained(described: manifest.Manifest, folder: Path, *, env: str, cache: Path, say: Say) -> Path:
    """What stands for the interpreter in the model's image."""
    if env == "local":
        return Path(sys.executable)
    name = described.model.name
    if env not in ("auto", "docker"):
        raise UsageError(f"{name} runs in an image, so --env {env} cannot give its environment; use auto or local")
    image = described.binaries.further.get("image")
    if image is None:
        raise UsageError(f"{name} has docker dependencies and names no image; write binaries.image in its manifest")
    return docker.launcher(docker.checked_image(image), folder, cache=cache, say=say, environ=os.environ)


def _manifest_in(folder: Path) -> Path | None:
    return next((folder / name for name in manifest.FILE_NAMES if (folder / name).is_file()), None)


def _pulled(reference: Reference, *, env: str, cache: Path, say: Say) -> Resolved:
    # Needs the extra `mlflow`, so it is imported where it is wanted.
    from legion.registry.store import pull  # noqa: PLC0415

    with scratch(cache) as into:
        say(f"fetching {reference.text}")
        folder = pull(reference, into)
        name = reference.name or reference.text.rsplit("/", 1)[-1]
        return _from_artifact(_packed(folder, name, env=env, cache=cache, say=say), env=env, cache=cache, say=say)


def _packed(folder: Path, name: str, *, env: str, cache: Path, say: Say) -> Path:
    """A model folder as an artifact in the cache, with its golden answers, made once for the same content."""
    from legion.toolchain.export import Wish  # noqa: PLC0415
    from legion.toolchain.packing import make_from_folder  # noqa: PLC0415

    stamp = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        stamp.update(f"{path.relative_to(folder)}\0{content}\0".encode())
    out = cache / EXPORTS / f"{stamp.hexdigest()}.zip"
    with claim(out) as held:
        if not out.is_file():
            out.parent.mkdir(parents=True, exist_ok=True)
            made = make_from_folder(folder, Wish(out=out, env=env), fallback_name=name, cache=cache, say=say)
            model = made.manifest.model
            held.note(Note(out.stat().st_size, f"{model.name} {model.version}"))
        keep(hold(out))
    return out
