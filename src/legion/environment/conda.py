"""A model's environment made of conda packages: solved and installed by rattler, no conda needed on the machine.

The packages come from the channels that the model's conda.yaml names, in strict priority as conda has it: a
package is taken from the first channel that has it at all. The pip list, and what Legion's worker needs besides,
is installed by uv into the same prefix.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import re
import sys
from pathlib import Path

import msgspec
from packaging.version import Version

from legion.documents.redaction import redacted
from legion.environment.built_once import Built, built_once, ready
from legion.environment.channels import all_addresses
from legion.environment.conda_yaml import CondaPart
from legion.environment.discovery import OLDEST
from legion.environment.pip_install import WORKER_NEEDS, WORKER_WISHES, pip_install
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv import MARKER
from legion.environment.uv_command import Say, UvError
from legion.errors import EnvironmentBuildError, EnvironmentRefused, MissingExtraError

# Raised when an environment made by an older Legion must not be taken.
_LAYOUT = 1


class Marker(msgspec.Struct, frozen=True):
    """Content of the marker file: what the environment is, for whoever looks into the cache."""

    channels: tuple[str, ...]
    packages: tuple[str, ...]
    requirements: tuple[str, ...]
    worker: tuple[str, ...]


def available() -> bool:
    """Whether rattler, which the extra `conda` brings, is installed."""
    return importlib.util.find_spec("rattler") is not None


def environment_folder(spec: EnvironmentSpec, cache: Path) -> Path:
    """Where the conda environment of `spec` is, or would be: `cache/environments/<32 hex digits>`.

    The digits cover channels without their credentials, packages, the pip list, the platform, the Python where
    none is named, and what the worker needs besides.
    """
    conda = spec.conda or CondaPart()
    content = (
        ("conda", _LAYOUT, sys.platform, platform.machine(), WORKER_NEEDS, WORKER_WISHES),
        [redacted(channel) for channel in conda.channels],
        _packages(spec),
        _requirements(spec),
        sorted(spec.constraints),
        sorted(spec.hashes.items()),
    )
    return cache / "environments" / hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:32]


def is_made(spec: EnvironmentSpec, cache: Path) -> bool:
    """Whether that environment is there and complete."""
    return ready(environment_folder(spec, cache), MARKER) is not None


def realise(spec: EnvironmentSpec, *, cache: Path, say: Say) -> Path:
    """The interpreter of a conda environment that holds `spec` and what the worker needs; made if it is not there.

    Raises MissingExtraError without rattler, EnvironmentRefused for channels, packages or a Python that may not
    be, EnvironmentBuildError with the solver's or uv's complaint. A second builder of the same environment waits
    for the first and takes what it made.
    """
    folder = environment_folder(spec, cache)

    def build(lock: int) -> Built:
        try:
            marker = _build(spec, folder, cache, lock, say)
            return Built(msgspec.json.encode(marker), f"{len(marker.packages)} conda packages")
        except UvError as error:
            raise EnvironmentBuildError(
                f"uv could not install the pip list of the model's conda.yaml: {error.complaint}; correct the "
                f"list, or choose the package index by UV_DEFAULT_INDEX"
            ) from error

    return built_once(folder, MARKER, build, say)


def _packages(spec: EnvironmentSpec) -> tuple[str, ...]:
    """conda's requirements, python's among them."""
    conda = spec.conda or CondaPart()
    if any(re.match(r"(?:\S+::)?python(?![\w.\-])", package, re.I) for package in conda.packages):
        return conda.packages
    python = spec.python or ".".join(platform.python_version_tuple()[:2])
    return (*conda.packages, f"python={python}")


def _requirements(spec: EnvironmentSpec) -> tuple[str, ...]:
    """What uv installs: the pip list, or everything where no conda.yaml asked."""
    return spec.requirements if spec.conda is None else spec.conda.requirements


def _build(spec: EnvironmentSpec, folder: Path, cache: Path, lock: int, say: Say) -> Marker:
    if not available():
        raise MissingExtraError("conda", "an environment of conda packages")
    from legion.environment.conda_install import install_packages  # noqa: PLC0415

    if spec.python is not None and Version(spec.python) < OLDEST:
        raise EnvironmentRefused(
            f"the model wants Python {spec.python} and Legion runs models on {OLDEST} and later; "
            f"save it again from a newer Python"
        )
    wanted = _packages(spec)
    say(f"making environment {folder.name[:12]}: {len(wanted)} conda requirements, {len(_requirements(spec))} of pip")
    folder.mkdir(parents=True)
    channels = all_addresses(() if spec.conda is None else spec.conda.channels)
    names = install_packages(wanted, channels, folder, cache=cache / "conda", say=say)
    if not (folder / "bin" / "python").exists():
        raise EnvironmentBuildError(
            f"the package python of {redacted(channels[0])} holds no bin/python; name a channel with a Python "
            f"for this machine in the model's conda.yaml"
        )
    # The prefix is Legion's own, whatever its Python's distributor says about who may install into it.
    options = ("--break-system-packages",)
    worker = pip_install(_requirements(spec), spec, folder, lock=lock, say=say, options=options)
    return Marker(tuple(map(redacted, channels)), names, _requirements(spec), worker)
