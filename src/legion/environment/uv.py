"""A model's environment made by uv: content-addressed, shared, complete or not there (built_once.py)."""

from __future__ import annotations

import hashlib
import platform
import re
from pathlib import Path

import msgspec
from packaging.version import Version

from legion.environment.built_once import Built, built_once
from legion.environment.discovery import find_python
from legion.environment.pip_install import WORKER_NEEDS, WORKER_WISHES, pip_install
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv_command import Say, UvError, run_uv
from legion.errors import EnvironmentBuildError

# Before Python 3.12 every new environment had setuptools, and packages of that time import its pkg_resources,
# which setuptools 81 removes. A model that names setuptools gets the one it names.
SEED, SEED_BEFORE = "setuptools<81", Version("3.12")

MARKER = "legion-environment.json"
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
    (disk/cache.py) for this process.
    """
    folder = environment_folder(spec, cache)

    def build(lock: int) -> Built:
        try:
            marker = _build(spec, folder, lock, say)
        except UvError as error:
            raise EnvironmentBuildError(
                f"uv could not make the model's environment: {error.complaint}; correct the model's "
                f"requirements, or choose the package index by UV_DEFAULT_INDEX"
            ) from error
        return Built(msgspec.json.encode(marker), f"Python {marker.python}, {_counted(spec)}")

    return built_once(folder, MARKER, build, say)


def _python(spec: EnvironmentSpec) -> str:
    return spec.python or ".".join(platform.python_version_tuple()[:2])


def _counted(spec: EnvironmentSpec) -> str:
    count = len(spec.requirements)
    return f"{count} requirement{'' if count == 1 else 's'}"


def _build(spec: EnvironmentSpec, folder: Path, lock: int, say: Say) -> Marker:
    base = find_python(_python(spec), folder=folder.parent, say=say)
    venv = ["venv", "--no-project", "--quiet", "--python", str(base), str(folder)]
    run_uv(venv, folder=folder.parent, keep_open=(lock,))
    version = _version_of(folder)
    say(f"making environment {folder.name[:12]}: Python {version}, {_counted(spec)}")
    seed = (SEED,) if Version(version) < SEED_BEFORE else ()
    return Marker(
        version, spec.requirements, pip_install(spec.requirements, spec, folder, lock=lock, say=say, seed=seed)
    )


def _version_of(folder: Path) -> str:
    """The version that uv wrote into a new virtual environment, such as 3.9.18."""
    match = re.search(r"^version_info\s*=\s*(\S+)", (folder / "pyvenv.cfg").read_text(), re.M)
    return match[1] if match else "of unknown version"
