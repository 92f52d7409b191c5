"""The Python to run a model with: one table of the ways to get it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from legion.documents.redaction import redacted
from legion.environment import conda
from legion.environment.built_once import ready
from legion.environment.local import mismatches
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv import MARKER, environment_folder, realise
from legion.environment.uv_command import Say
from legion.errors import EnvironmentRefused, MissingExtraError, UsageError


def interpreter(spec: EnvironmentSpec, mode: str, *, cache: Path, say: Say) -> Path:
    """The interpreter that holds `spec`, got in the way `mode` says: auto, local, uv or conda.

    `cache` is the folder that environments are kept in, `say` gets lines for the user. Raises UsageError for
    another mode, MissingExtraError where conda's packages are wanted and rattler is not there, EnvironmentRefused
    and EnvironmentBuildError where there is no such environment.
    """
    # What was trained in an image is packed like any other model, with whatever fits its own requirements.
    way = MODES.get("auto" if mode == "docker" else mode)
    if way is None:
        raise UsageError(f"--env {mode} is no way to get an environment; use one of {', '.join(MODES)}")
    return way(spec, cache, say)


def is_made(spec: EnvironmentSpec, mode: str, *, cache: Path) -> bool:
    """Whether `interpreter` would make nothing: the running Python is taken, or the environment is there."""
    if mode == "local":
        return True
    if mode == "conda" or (mode == "auto" and spec.only_conda):
        return conda.is_made(spec, cache)
    return (mode == "auto" and not mismatches(spec)) or ready(environment_folder(spec, cache), MARKER) is not None


def _auto(spec: EnvironmentSpec, cache: Path, say: Say) -> Path:
    running = f"the running Python {platform.python_version()}"
    if spec.only_conda:
        first = redacted(spec.only_conda[0])
        if not conda.available():
            raise MissingExtraError("conda", f"an environment of conda packages ({first})")
        say(f"conda packages are wanted, so they come from conda's channels: {first}{_more(spec.only_conda)}")
        return conda.realise(spec, cache=cache, say=say)
    _say_notes(spec, say)
    found = mismatches(spec)
    if not found:
        empty = spec.python is None and not spec.requirements
        reason = "is used; the model names no environment" if empty else "has what the model wants"
        say(f"{running} {reason}")
        return Path(sys.executable)
    say(f"{running} does not fit, so uv provides an environment: {found[0]}{_more(found)}")
    return realise(spec, cache=cache, say=say)


def _more(found: Sequence[str]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def _say_notes(spec: EnvironmentSpec, say: Say) -> None:
    for note in spec.notes:
        say(note)


def _local(spec: EnvironmentSpec, cache: Path, say: Say) -> Path:
    _say_notes(spec, say)
    for line in (*mismatches(spec), *map(redacted, spec.only_conda)):
        say(f"warning: {line}; the model runs anyway because of --env local")
    return Path(sys.executable)


def _uv(spec: EnvironmentSpec, cache: Path, say: Say) -> Path:
    if spec.only_conda:
        lines = "".join(f"\n  {redacted(line)}" for line in spec.only_conda)
        raise EnvironmentRefused(
            f"uv cannot install every package that the model wants; use --env conda, or make the environment "
            f"yourself and run in it with --env local:{lines}"
        )
    _say_notes(spec, say)
    return realise(spec, cache=cache, say=say)


def _conda(spec: EnvironmentSpec, cache: Path, say: Say) -> Path:
    return conda.realise(spec, cache=cache, say=say)


MODES: Final = MappingProxyType[str, Callable[[EnvironmentSpec, Path, Say], Path]](
    {"auto": _auto, "local": _local, "uv": _uv, "conda": _conda}
)
