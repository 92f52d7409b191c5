"""A pip list and what Legion's worker needs besides, installed by uv into an environment that has its Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement

from legion.documents.redaction import redacted
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv_command import Say, UvError, run_uv

# What the worker imports. Wheels only: a model must not fail to start for want of a compiler.
WORKER_NEEDS = ("msgspec>=0.20", "numpy")
# Makes big requests faster; not built for every platform.
WORKER_WISHES = ("pysimdjson>=7.0",)
_REQUIREMENTS, _CONSTRAINTS = "legion-requirements.txt", "legion-constraints.txt"


def pip_install(
    requirements: Sequence[str],
    spec: EnvironmentSpec,
    folder: Path,
    *,
    lock: int,
    say: Say,
    seed: Sequence[str] = (),
    options: Sequence[str] = (),
) -> tuple[str, ...]:
    """Install `requirements` under the spec's constraints and hashes; returns what was added for the worker.

    `seed` is installed with them, `options` go to uv. uv inherits the descriptor `lock`, so that the next builder waits
    for it should this process be killed. Raises UvError with uv's complaint.
    """
    named = {Requirement(line).name for line in requirements}
    needs = [need for need in WORKER_NEEDS if Requirement(need).name not in named]
    seed = [line for line in seed if Requirement(line).name not in named]
    lines = [" ".join([line, *(f"--hash={one}" for one in spec.hashes.get(line, ()))]) for line in requirements]
    (folder / _REQUIREMENTS).write_text("".join(f"{line}\n" for line in [*lines, *needs, *seed]))
    (folder / _CONSTRAINTS).write_text("".join(f"{line}\n" for line in spec.constraints))
    install = ["pip", "install", "--python", str(folder / "bin" / "python"), *options]
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
