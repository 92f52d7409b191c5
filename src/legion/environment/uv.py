"""A model's environment made by uv: content-addressed, shared, complete or not there.

A virtual environment holds absolute paths (its scripts, its activation files), so it is not built aside and
renamed: it is built where it stays, under a lock, and counts only once its marker file is there, which is
written last. What a killed builder left has no marker; the next builder removes it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from pathlib import Path

import msgspec
from packaging.requirements import Requirement
from packaging.version import Version

from legion.artifact.cache import Hold, Note, claim, hold, keep
from legion.artifact.sizes import size_of
from legion.environment.discovery import find_python
from legion.environment.lock import held
from legion.environment.redaction import redacted
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv_command import Say, UvError, run_uv
from legion.errors import EnvironmentBuildError

# What the worker imports. Wheels only: a model must not fail to start for want of a compiler.
WORKER_NEEDS = ("msgspec>=0.20", "numpy")
# Makes big requests faster; not built for every platform.
WORKER_WISHES = ("pysimdjson>=7.0",)
# Before Python 3.12 every new environment had setuptools, and packages of that time import its pkg_resources,
# which setuptools 81 removes. A model that names setuptools gets the one it names.
SEED, SEED_BEFORE = "setuptools<81", Version("3.12")

MARKER = "legion-environment.json"
_REQUIREMENTS, _CONSTRAINTS = "legion-requirements.txt", "legion-constraints.txt"
# Raised when an environment made by an older Legion must not be taken.
_LAYOUT = 1


class Marker(msgspec.Struct, frozen=True):
    """Content of the marker file: what the environment is, for whoever looks into the cache."""

    python: str
    requirements: tuple[str, ...]
    worker: tuple[str, ...]


def environment_folder(spec: EnvironmentSpec, cache: Path) -> Path:
    """Where the environment of `spec` is, or would be: `cache/environments/<32 hex digits>`.

    The digits cover the spec, the Python it falls back to, and what the worker needs besides.
    """
    content = (_LAYOUT, spec.hash, _python(spec), WORKER_NEEDS, WORKER_WISHES, SEED)
    return cache / "environments" / hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:32]


def realise(spec: EnvironmentSpec, *, cache: Path, say: Say) -> Path:
    """The interpreter of an environment that holds `spec` and what the worker needs; made if it is not there.

    Raises EnvironmentBuildError with uv's complaint, EnvironmentRefused for a Python that is too old. A
    second builder of the same environment waits for the first and takes what it made. It is kept
    (artifact/cache.py) for this process.
    """
    folder = environment_folder(spec, cache)
    try:
        with claim(folder) as claimed:
            python = _made(spec, folder, claimed, say)
            keep(hold(folder))
            return python
    except OSError as error:
        raise EnvironmentBuildError(
            f"the environment could not be made in {folder.parent} ({error.strerror or error}); give the "
            f"cache folder space and write permission, or set LEGION_CACHE to another"
        ) from error


def _made(spec: EnvironmentSpec, folder: Path, claimed: Hold, say: Say) -> Path:
    """The interpreter that is there already, or that is made now."""
    if python := _ready(folder):
        say(f"environment {folder.name[:12]} is ready")
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"environment {folder.name[:12]} is being made by another process; waiting for it"
    with held(folder.with_suffix(".lock"), lambda: say(waiting)) as lock:
        if python := _ready(folder):
            say(f"environment {folder.name[:12]} is ready")
            return python
        python = _build(spec, folder, lock, say)
        count = len(spec.requirements)
        what = f"Python {_version_of(folder)}, {count} requirement{'' if count == 1 else 's'}"
        claimed.note(Note(size_of(folder), what))
        return python


def _python(spec: EnvironmentSpec) -> str:
    return spec.python or ".".join(platform.python_version_tuple()[:2])


def _ready(folder: Path) -> Path | None:
    """The interpreter of a complete environment; None where its base Python has since been removed."""
    python = folder / "bin" / "python"
    return python if (folder / MARKER).is_file() and python.exists() else None


def _build(spec: EnvironmentSpec, folder: Path, lock: int, say: Say) -> Path:
    if folder.exists():
        say(f"environment {folder.name[:12]} is unfinished or has lost its Python; making it again")
        shutil.rmtree(folder)
    try:
        base = find_python(_python(spec), folder=folder.parent, say=say)
        # uv inherits the lock: if this process is killed, the next builder waits until its uv has ended too.
        venv = ["venv", "--no-project", "--quiet", "--python", str(base), str(folder)]
        run_uv(venv, folder=folder.parent, keep_open=(lock,))
        python = folder / "bin" / "python"
        version = _version_of(folder)
        count = f"{len(spec.requirements)} requirement{'' if len(spec.requirements) == 1 else 's'}"
        say(f"making environment {folder.name[:12]}: Python {version}, {count}")
        worker = _install(spec, folder, version, lock, say)
        _mark(folder, Marker(version, spec.requirements, worker))
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, UvError):
            raise EnvironmentBuildError(
                f"uv could not make the model's environment: {error.complaint}; correct the model's "
                f"requirements, or choose the package index by UV_DEFAULT_INDEX"
            ) from error
        raise
    return python


def _version_of(folder: Path) -> str:
    """The version that uv wrote into a new virtual environment, such as 3.9.18."""
    match = re.search(r"^version_info\s*=\s*(\S+)", (folder / "pyvenv.cfg").read_text(), re.M)
    return match[1] if match else "of unknown version"


def _install(spec: EnvironmentSpec, folder: Path, version: str, lock: int, say: Say) -> tuple[str, ...]:
    """Install the requirements and the worker's needs; returns what was added for the worker."""
    named = {Requirement(line).name for line in spec.requirements}
    needs = [need for need in WORKER_NEEDS if Requirement(need).name not in named]
    seed = [SEED] if Version(version) < SEED_BEFORE and "setuptools" not in named else []
    lines = [" ".join([line, *(f"--hash={one}" for one in spec.hashes.get(line, ()))]) for line in spec.requirements]
    (folder / _REQUIREMENTS).write_text("".join(f"{line}\n" for line in [*lines, *needs, *seed]))
    (folder / _CONSTRAINTS).write_text("".join(f"{line}\n" for line in spec.constraints))
    install = ["pip", "install", "--python", str(folder / "bin" / "python")]
    wheels = [option for need in needs for option in ("--only-binary", Requirement(need).name)]
    files = ["-r", str(folder / _REQUIREMENTS), "-c", str(folder / _CONSTRAINTS)]
    run_uv([*install, *wheels, *files], folder=folder.parent, say=say, keep_open=(lock,))
    return (*needs, *(wish for wish in WORKER_WISHES if _granted(wish, install, folder, lock, say)))


def _granted(wish: str, install: list[str], folder: Path, lock: int, say: Say) -> bool:
    """Install something that the worker can do without. It comes last so that it cannot fail the rest."""
    name = Requirement(wish).name
    try:
        run_uv([*install, "--only-binary", name, wish], folder=folder.parent, keep_open=(lock,))
    except UvError as error:
        say(redacted(f"{name} is left out ({error.complaint}); big requests are read more slowly"))
        return False
    return True


def _mark(folder: Path, marker: Marker) -> None:
    """Write the marker so that it is whole or absent, and on disk before anybody relies on it."""
    aside = folder / f"{MARKER}.part"
    with aside.open("wb") as file:
        file.write(msgspec.json.encode(marker))
        file.flush()
        os.fsync(file.fileno())
    aside.rename(folder / MARKER)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
