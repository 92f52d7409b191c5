"""An MLflow model as an artifact: one folder that is an MLflow model and an LMAF tree at the same time."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from legion.artifact import golden as goldens
from legion.artifact import manifest as manifests
from legion.artifact.archive import pack
from legion.artifact.manifest import Binaries, Manifest, Model, Toolchain
from legion.artifact.mlmodel import MLmodel, read_mlmodel
from legion.artifact.plan import LINEAR, plan_for
from legion.environment.interpreter import interpreter
from legion.environment.spec import read_spec
from legion.errors import ArchiveError
from legion.toolchain.examples import example_requests
from legion.toolchain.reference_answers import reference_answers

# No model's own module is likely to have this name.
ENTRYPOINT = "legion_entrypoint"
_ENVIRONMENTS = ("conda.yaml", "python_env.yaml", "requirements.txt")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "registered_model_meta", ".DS_Store", LINEAR)

Say = Callable[[str], None]
# Given the bytes to pack, a context whose function is told the bytes as they are packed.
Packing = Callable[[int], AbstractContextManager[Callable[[int], object]]]


class Exported(msgspec.Struct, frozen=True):
    """What was made. `digest` is `sha256:<hex>`; `golden_rows` counts the golden requests."""

    path: Path
    digest: str
    manifest: Manifest
    golden_rows: int = 0


class Wish(msgspec.Struct, frozen=True):
    """What the user asked for; None where the model itself says it. `out` may be a folder or a file."""

    name: str | None = None
    version: str | None = None
    out: Path | None = None
    env: str = "auto"


def export(
    folder: Path, wish: Wish, *, fallback_name: str, cache: Path, say: Say, packing: Packing | None = None
) -> Exported:
    """Pack the MLflow model in `folder`; the same model gives the same digest.

    Raises ArchiveError for a folder that is no MLflow model, ManifestError for an MLmodel file with faults and for a
    name or version that cannot be,
    EnvironmentRefused, EnvironmentBuildError, WorkerError where the model does not load.
    """
    mlmodel = _read_mlmodel(folder)
    with tempfile.TemporaryDirectory(prefix="legion-export-") as scratch:
        tree = Path(scratch) / "model"
        shutil.copytree(folder, tree, ignore=_LEFT_OUT)
        manifest = _manifest(tree, mlmodel, wish, fallback_name)
        (tree / f"{ENTRYPOINT}.py").write_bytes(_entrypoint_source())
        (tree / manifests.FILE_NAME).write_bytes(manifests.render(manifest))
        count = _write_golden(tree, manifest, mlmodel, wish.env, cache, say)
        out = destination(wish.out, manifest)
        digest = write(tree, manifest, out, packing)
    return Exported(out, digest, manifest, count)


def write(tree: Path, manifest: Manifest, out: Path, packing: Packing | None) -> str:
    """Pack the tree, telling `packing` how far it is; returns the digest."""
    if packing is None:
        return pack(tree, manifest, out)
    with packing(sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())) as advance:
        return pack(tree, manifest, out, advance=advance)


def destination(out: Path | None, manifest: Manifest) -> Path:
    """The file to write: `out`, or NAME-VERSION.zip in the folder `out` or the current one."""
    name = f"{manifest.model.name}-{manifest.model.version}.zip"
    if out is None:
        return Path(name)
    return out / name if out.is_dir() else out


def portable_name(text: str) -> str:
    """Any text as an artifact's name: letters, digits and hyphens, at most 63; `model` where nothing is left."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:63].strip("-") or "model"


def _read_mlmodel(folder: Path) -> MLmodel:
    if not (folder / "MLmodel").is_file():
        raise ArchiveError(
            f"{folder} holds neither legion.model.yaml nor MLmodel; name the folder of a model", "MLmodel"
        )
    mlmodel = read_mlmodel(folder)
    if "python_function" not in mlmodel.flavors:
        raise ArchiveError("the model has no python_function flavor; log it with a flavor that mlflow.pyfunc loads")
    return mlmodel


def _manifest(tree: Path, mlmodel: MLmodel, wish: Wish, fallback_name: str) -> Manifest:
    ids = {"run_id": mlmodel.run_id, "model_id": mlmodel.model_id}
    origin = {key: value for key, value in ids.items() if value}
    return Manifest(
        model=Model(
            name=wish.name or portable_name(fallback_name),
            version=wish.version or f"1.0.0-{_suffix(tree, origin)}",
            entrypoint=ENTRYPOINT,
        ),
        toolchain=Toolchain("mlflow", mlmodel.mlflow_version or "unknown", {"interface": "pyfunc"}),
        binaries=Binaries(conda_path=_environment_file(tree, mlmodel)),
        output=origin,
    )


def _suffix(tree: Path, origin: dict[str, str]) -> str:
    """Eight characters that tell this model from others: of its id, its run, else its content."""
    if "model_id" in origin:
        return origin["model_id"].removeprefix("m-")[:8]
    if "run_id" in origin:
        return origin["run_id"][:8]
    content = hashlib.sha256()
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        content.update(path.relative_to(tree).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()[:8]


def _environment_file(tree: Path, mlmodel: MLmodel) -> str:
    """The file that describes the model's environment; one is written where MLflow left none."""
    pyfunc = mlmodel.flavors["python_function"]
    env = pyfunc.get("env")
    # A string in MLflow 1.x, a mapping since 2.x.
    named = env.get("conda") if isinstance(env, dict) else env
    for name in (named, *_ENVIRONMENTS):
        if isinstance(name, str) and (tree / name).is_file():
            return name
    python, version = pyfunc.get("python_version"), mlmodel.mlflow_version
    pip = ["mlflow" if version is None else f"mlflow=={version}"]
    dependencies: list[Any] = [*([f"python={python}"] if python else []), "pip", {"pip": pip}]
    text = yaml.safe_dump({"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": dependencies})
    (tree / "conda.yaml").write_text(text, encoding="utf-8")
    return "conda.yaml"


def _entrypoint_source() -> bytes:
    return importlib.resources.files(__package__).joinpath(f"{ENTRYPOINT}.py").read_bytes()


def _write_golden(tree: Path, manifest: Manifest, mlmodel: MLmodel, env: str, cache: Path, say: Say) -> int:
    plan = plan_for(tree, manifest, reference=True)
    requests = example_requests(tree, plan.signature, mlmodel.serving_example)
    if not requests:
        say(
            "the model has no input example and no signature, so the artifact holds no golden answers; log it with both"
        )
        return 0
    python = interpreter(read_spec(tree, manifest.binaries.conda_path), env, cache=cache, say=say)
    say("asking the model for its golden answers")
    answers = reference_answers(plan, python, requests, say)
    # Whatever loading the model compiled is no part of it.
    for compiled in list(tree.rglob("__pycache__")):
        shutil.rmtree(compiled, ignore_errors=True)
    if answers is None:
        return 0
    (tree / goldens.FILE_NAME).write_bytes(goldens.dump(answers.golden))
    if answers.linear is not None:
        (tree / LINEAR).write_bytes(msgspec.json.encode(answers.linear) + b"\n")
    return len(answers.golden.cases)
