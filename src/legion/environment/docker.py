"""Images: which program runs them on this machine, and how a container is started from one.

docker is taken where its daemon answers, else podman. LEGION_CONTAINER names another program or another way to call
it (`podman --runtime runc`), LEGION_CONTAINER_RUN_OPTIONS adds options to every `run` (`--gpus all`). Nothing here goes
through a shell.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from legion.disk import durable
from legion.documents.redaction import redacted
from legion.environment.uv_command import Say
from legion.errors import EnvironmentBuildError, EnvironmentRefused, UsageError

Environ = Mapping[str, str]

PROGRAM, RUN_OPTIONS = "LEGION_CONTAINER", "LEGION_CONTAINER_RUN_OPTIONS"
# Where the container finds the socket over which it is told what to run.
SOCKET_FOLDER, SOCKET_NAME = "/run/legion", "socket"
PACKAGE = Path(__file__).resolve().parent.parent
_CONTAINED = PACKAGE / "environment" / "contained.py"
_PROGRAMS = ("docker", "podman")
_PATIENCE = 30.0
_LONGEST = 300
_LAYOUT = 1

_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?"
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)
# What of this process's environment a worker is given: how many threads its numeric libraries take.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONUNBUFFERED")
_PROBE = "import sys, msgspec, numpy; sys.exit(sys.version_info < (3, 9))"


class Program(msgspec.Struct, frozen=True):
    """How containers are run here: the program with its own options, and what is added to each `run`."""

    command: tuple[str, ...]
    run_options: tuple[str, ...] = ()


class Mount(msgspec.Struct, frozen=True):
    """A folder or file of this machine that is at the same place in the container, or at `at`."""

    source: Path
    at: str | None = None
    readonly: bool = True


def checked_image(name: object) -> str:
    """An image's name as registries spell it: `host:5000/team/model:1.2@sha256:…`. Raises UsageError."""
    if not isinstance(name, str) or len(name) > 255 or not _IMAGE.fullmatch(name):
        raise UsageError(f"{name!r} is no image; name one such as registry.example/team/model:1.0")
    return name


def find_program(environ: Environ, purpose: str) -> Program:
    """The program that runs containers. Raises EnvironmentRefused, which says what `purpose` lacks."""
    options = _split(environ, RUN_OPTIONS)
    if chosen := _split(environ, PROGRAM):
        if fault := _fault(chosen):
            raise EnvironmentRefused(f"{purpose} needs {chosen[0]}, which {PROGRAM} names ({fault}); correct it")
        return Program(chosen, options)
    faults = []
    for name in _PROGRAMS:
        fault = _fault((name,))
        if fault is None:
            return Program((name,), options)
        faults.append(f"{name}: {fault}")
    raise EnvironmentRefused(
        f"{purpose} needs docker or podman, and neither runs here ({'; '.join(faults)}); install one of them, or name "
        f"another way to call it in {PROGRAM}"
    )


def _split(environ: Environ, variable: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(environ.get(variable, "")))
    except ValueError as error:
        raise UsageError(f"{variable} cannot be read ({error}); quote it as a shell wants it") from None


def _fault(command: Sequence[str]) -> str | None:
    """Why this program cannot run containers, or None. docker's `version` asks its daemon too."""
    if shutil.which(command[0]) is None:
        return "not installed"
    try:
        done = subprocess.run(
            [*command, "version"], capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    return None if done.returncode == 0 else _last_line(done.stderr) or f"it ended with {done.returncode}"


def image_id(program: Program, image: str, say: Say) -> str:
    """The id of an image, which is pulled if it is not here. Raises EnvironmentBuildError."""
    if found := _inspected(program, image):
        return found
    say(f"fetching image {image}")
    done = _run(program, ["pull", image])
    found = _inspected(program, image)
    if done.returncode != 0 or found is None:
        raise EnvironmentBuildError(
            f"image {image} is not here and cannot be pulled ({_last_line(done.stderr)}); check its name, and log in "
            f"to its registry by {program.command[0]} login"
        )
    return found


def _inspected(program: Program, image: str) -> str | None:
    done = _run(program, ["image", "inspect", "--format", "{{.Id}}", image])
    found = done.stdout.strip().removeprefix("sha256:")
    return found if done.returncode == 0 and re.fullmatch(r"[0-9a-f]{64}", found) else None


def _run(program: Program, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [*program.command, *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return redacted(lines[-1])[:_LONGEST].rstrip(".") if lines else ""


def run_command(
    program: Program,
    image: str,
    arguments: Sequence[str],
    *,
    mounts: Sequence[Mount] = (),
    options: Sequence[str] = (),
) -> list[str]:
    """The command that runs `python3 ARGUMENTS` in a container of `image` and removes the container afterwards.

    The container has this user's id, no capabilities and gains none. The user's own options come last and so count.
    Raises UsageError for a path that cannot be mounted.
    """
    container = [
        *program.command,
        "run",
        "--rm",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--env=HOME=/tmp",
    ]
    # A rootless podman maps this user to the container's root unless it is told otherwise.
    rootless = Path(program.command[0]).name == "podman" and os.getuid() != 0
    container += ["--userns=keep-id"] if rootless else [f"--user={os.getuid()}:{os.getgid()}"]
    for mount in mounts:
        container += ["--mount", _spelled(mount)]
    return [*container, *options, *program.run_options, "--entrypoint=python3", image, *arguments]


def _spelled(mount: Mount) -> str:
    target = mount.at or str(mount.source)
    for path in (str(mount.source), target):
        if not path.startswith("/") or re.search(r"""[,"'\\\x00-\x1f]""", path):
            raise UsageError(f"{path!r} cannot be given to a container; use a folder with a plain absolute path")
    return f"type=bind,src={mount.source},dst={target}{',readonly' if mount.readonly else ''}"


def contained(
    program: Program,
    image: str,
    folder: Path,
    *,
    mounts: Sequence[Mount] = (),
    options: Sequence[str] = (),
) -> list[str]:
    """The command whose container asks the socket in `folder` what it shall run (contained.py)."""
    further = (Mount(PACKAGE), Mount(folder, SOCKET_FOLDER, readonly=False))
    arguments = ["-I", str(_CONTAINED), f"{SOCKET_FOLDER}/{SOCKET_NAME}"]
    return run_command(program, image, arguments, mounts=(*mounts, *further), options=options)


class Launch(msgspec.Struct, frozen=True):
    """What a launcher starts: an image by its id, with a model's folder in it."""

    program: tuple[str, ...]
    image: str
    folder: str


def launcher(image: str, folder: Path, *, cache: Path, say: Say, environ: Environ) -> Path:
    """A program that stands for the interpreter in `image`: called as one, it runs a worker in a container.

    `folder` is the model's, mounted read-only. The image needs a Python from 3.9 on its PATH as python3, with numpy
    and msgspec, which is tried once. Raises UsageError, EnvironmentRefused, EnvironmentBuildError.
    """
    program = find_program(environ, f"a model that runs in the image {image}")
    found = image_id(program, image, say)
    launch = Launch(program.command, found, str(folder.resolve()))
    name = hashlib.sha256(msgspec.json.encode((_LAYOUT, sys.executable, launch))).hexdigest()[:32]
    place = cache / "containers" / name / "python"
    if not place.is_file():
        say(f"trying the Python in image {image}")
        _try(program, found, image, folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        with durable.new_file(place.with_name("launch.json")) as file:
            file.write(msgspec.json.encode(launch))
        with durable.new_file(place) as file:
            os.fchmod(file.fileno(), 0o755)
            file.write(_script().encode())
    say(f"the model runs in image {image} ({found[:12]}) by {Path(program.command[0]).name}")
    return place


def _try(program: Program, found: str, image: str, folder: Path) -> None:
    command = run_command(program, found, ["-I", "-c", _PROBE], mounts=[Mount(folder.resolve()), Mount(PACKAGE)])
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise EnvironmentBuildError(
            f"image {image} cannot run a model ({_last_line(done.stderr) or 'its Python is older than 3.9'}); it needs "
            f"python3 from 3.9 on with numpy and msgspec, and {RUN_OPTIONS} holds what this machine needs to run it"
        )


def _script() -> str:
    """The launcher's text. A kernel cuts the first line at a space or at 127 bytes; then sh has to find Python."""
    python = sys.executable
    first = (
        f"#!{python}"
        if " " not in python and len(python) < 120
        else f"#!/bin/sh\n'''exec' {shlex.quote(python)} \"$0\" \"$@\"\n' '''"
    )
    return f"{first}\nfrom legion.environment.container_launch import main\n\nmain(__file__)\n"


def worker_command(launch: Launch, run_options: Sequence[str], socket_folder: Path) -> list[str]:
    """The container of a worker."""
    program = Program(launch.program, tuple(run_options))
    mounts = [Mount(Path(launch.folder))]
    return contained(program, launch.image, socket_folder, mounts=mounts)


def run_options(environ: Environ) -> tuple[str, ...]:
    """What the user adds to each `run`. Raises UsageError."""
    return _split(environ, RUN_OPTIONS)
