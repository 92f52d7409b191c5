"""The Python to run a model with: one table of the ways to get it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from legion.environment.local import mismatches
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv import realise
from legion.environment.uv_command import Say
from legion.errors import UsageError


def interpreter(spec: EnvironmentSpec, mode: str, *, cache: Path, say: Say) -> Path:
    """The interpreter that holds `spec`, got in the way `mode` says: auto, local or uv.

    `cache` is the folder that environments are kept in, `say` gets lines for the user. Raises UsageError for
    another mode, EnvironmentRefused and EnvironmentBuildError where there is no such environment.
    """
    way = MODES.get(mode)
    if way is None:
        later = "is not there yet" if mode in ("conda", "docker") else "is no way to get an environment"
        raise UsageError(f"--env {mode} {later}; use one of {', '.join(MODES)}")
    for note in spec.notes:
        say(note)
    return way(spec, cache, say)


def _auto(spec: EnvironmentSpec, cache: Path, say: Say) -> Path:
    running = f"the running Python {platform.python_version()}"
    found = mismatches(spec)
    if not found:
        empty = spec.python is None and not spec.requirements
        reason = "is used; the model names no environment" if empty else "has what the model wants"
        say(f"{running} {reason}")
        return Path(sys.executable)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    say(f"{running} does not fit, so uv provides an environment: {found[0]}{more}")
    return realise(spec, cache=cache, say=say)


def _local(spec: EnvironmentSpec, cache: Path, say: Say) -> Path:
    for line in mismatches(spec):
        say(f"warning: {line}; the model runs anyway because of --env local")
    return Path(sys.executable)


def _uv(spec: EnvironmentSpec, cache: Path, say: Say) -> Path:
    return realise(spec, cache=cache, say=say)


MODES: Final = MappingProxyType[str, Callable[[EnvironmentSpec, Path, Say], Path]](
    {"auto": _auto, "local": _local, "uv": _uv}
)
