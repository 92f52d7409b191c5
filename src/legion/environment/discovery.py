"""Where a Python of the wanted version is: found on this machine, else fetched by uv.

An installed Python of the same minor version is preferred to fetching the exact patch version: patch versions
are compatible, and a model must start without a network.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.version import Version

from legion.environment.uv_command import Say, UvError, run_uv
from legion.errors import EnvironmentBuildError, EnvironmentRefused

OLDEST = Version("3.9")


def find_python(version: str | None, *, folder: Path, say: Say) -> Path:
    """An interpreter of `version` (`3.11.7` or `3.11`; None is the running one), preferably exactly that.

    Raises EnvironmentRefused for a Python that the worker cannot run on, EnvironmentBuildError where none can
    be had.
    """
    if version is None:
        return Path(sys.executable)
    if Version(version) < OLDEST:
        raise EnvironmentRefused(
            f"the model wants Python {version} and Legion runs models on {OLDEST} and later; "
            f"save it again from a newer Python"
        )
    minor = ".".join(version.split(".")[:2])
    if found := _installed(version, folder):
        return found
    if version != minor and (found := _installed(minor, folder)):
        say(f"Python {version} is not here; the Python {minor} at {found} is taken")
        return found
    return _fetched(version, minor, folder, say)


def _installed(version: str, folder: Path) -> Path | None:
    """An installed interpreter of that version: the running one, one that uv finds, or one of pyenv's."""
    if f"{platform.python_version()}.".startswith(f"{version}."):
        return Path(sys.executable)
    return _found_by_uv(version, folder) or _found_by_pyenv(version)


def _found_by_uv(version: str, folder: Path) -> Path | None:
    try:
        # --system: an active virtual environment is somebody's work, not an interpreter to build on.
        arguments = ["python", "find", "--system", "--no-project", "--no-python-downloads", version]
        return Path(run_uv(arguments, folder=folder).strip())
    except UvError:
        return None


def _found_by_pyenv(version: str) -> Path | None:
    """The newest Python of that version under pyenv: its shims on PATH run only what is switched on."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return None
    root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
    if not root:
        return None
    # Only plain versions: the folder also holds pyenv's virtual environments and other implementations.
    pythons = [
        python
        for python in Path(root, "versions").glob(f"{version}*/bin/python")
        if f"{python.parts[-3]}.".startswith(f"{version}.") and python.parts[-3].replace(".", "").isdigit()
    ]
    return max(pythons, key=lambda python: Version(python.parts[-3]), default=None)


def _fetched(version: str, minor: str, folder: Path, say: Say) -> Path:
    """Let uv install that version, else its minor version."""
    reason = ""
    for wanted in dict.fromkeys((version, minor)):
        say(f"Python {wanted} is not here; uv fetches it")
        try:
            run_uv(["python", "install", "--no-bin", wanted], folder=folder, say=say)
        except UvError as error:
            reason = error.complaint
            # Anything else than "there is no such build" fails for the minor version just the same.
            if "No download found" in reason:
                continue
            break
        if found := _found_by_uv(wanted, folder):
            return found
    raise EnvironmentBuildError(
        f"Python {minor} is not on this machine and uv could not fetch it ({reason}); install "
        f"Python {minor}, or use --env local to run the model in the running Python"
    )
