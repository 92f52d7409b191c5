"""Running uv: where it is, what of its output is news, and what of it is the complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import uv

from legion.documents.redaction import redacted
from legion.errors import EnvironmentBuildError

Say = Callable[[str], None]

_NEWS = re.compile(r"\s*(?:Resolved|Downloading|Building|Built|Prepared|Installed)\b")
_DECORATION = re.compile(r"^[\s×╰─▶├│>]+")
# How uv began an error and a cause of it before it wrote the words.
_BEGINS = re.compile(r"\s*(?:×|[╰├]─▶)")
_LEAD = re.compile(r"^(?:error|cause|Caused by):\s*")
# Says nothing by itself; the cause behind it does.
_EMPTY_WORDS = ("No solution found when resolving dependencies", "The build backend returned an error")
_LONGEST = 600


class UvError(Exception):
    """uv ended with an error; `complaint` is the essence of what it said, without credentials."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint


def uv_binary() -> str:
    """The uv of the uv package, else the one on PATH. Raises EnvironmentBuildError where there is none."""
    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        found = shutil.which("uv")
    if found is None:
        raise EnvironmentBuildError("uv is not installed; run pip install uv, or use --env local")
    return found


def run_uv(arguments: Sequence[str], *, folder: Path, say: Say | None = None, keep_open: Iterable[int] = ()) -> str:
    """Run uv in `folder` and return its standard output. Raises UvError.

    `folder` is a neutral place: a pyproject.toml where the user happens to stand must not change a model's
    environment. The user's variables (UV_DEFAULT_INDEX, proxies, …) and uv.toml do count. `say` gets uv's
    progress line by line; `keep_open` are descriptors that uv inherits.
    """
    command = [uv_binary(), *arguments, "--color", "never", "--no-progress"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=tuple(keep_open),
    )
    with process:
        assert process.stderr is not None
        assert process.stdout is not None
        complaints = []
        try:
            for line in process.stderr:
                complaints.append(line)
                if say is not None and _NEWS.match(line):
                    say(f"uv: {redacted(line.strip())}")
            output = process.stdout.read()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise UvError(complaint("".join(complaints)) or f"uv ended with code {process.returncode}")
    return output


def complaint(text: str) -> str:
    """The essence of uv's error output as one line: the error, its causes, and a failed build's last line."""
    parts: list[str] = []
    build_log = False
    last = ""
    for line in text.splitlines():
        bare = _DECORATION.sub("", line).strip()
        if bare.startswith("hint:"):
            break
        if bare in ("[stderr]", "[stdout]"):
            build_log = True
        elif build_log:
            last = bare or last
        elif _LEAD.match(bare) or _BEGINS.match(line):
            parts.append(_LEAD.sub("", bare))
        elif parts and bare:
            parts[-1] += f" {bare}"
    meant = [part.rstrip(".:") for part in parts if not part.startswith(_EMPTY_WORDS)] or parts
    if last:
        meant.append(last)
    joined = redacted(": ".join(meant))
    return joined if len(joined) <= _LONGEST else f"{joined[: _LONGEST - 1]}…"
