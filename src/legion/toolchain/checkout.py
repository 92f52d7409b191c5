"""A project's source as a folder: a local one as it is, a git repository at a branch, tag or commit.

MLflow would check the version out in the user's own folder where the source is local; here a clone is made.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from legion.documents.redaction import redacted
from legion.errors import TrainingError, UsageError


@contextmanager
def checked_out(source: str, version: str | None) -> Iterator[Path]:
    """Yield the project's folder; a clone lasts as long as the context.

    `source` is a folder or a git URI, with `#sub/folder` behind it where the project is not at the root.
    Raises UsageError for a source that is none, TrainingError where git cannot get it.
    """
    place, subfolder = _split(source)
    folder = Path(place.removeprefix("file://")).expanduser()
    if folder.is_dir() and version is None and not _is_bare(folder):
        yield _inside(folder.absolute(), subfolder, source)
        return
    if not folder.is_dir() and not _is_git(place):
        raise UsageError(f"{place!r} is neither a folder nor a git repository; check the path or the URI")
    with tempfile.TemporaryDirectory(prefix="legion-project-") as scratch:
        clone = Path(scratch) / "project"
        above = _clone(str(folder.absolute()) if folder.is_dir() else place, version, clone)
        yield _inside(clone / above, subfolder, source)


def _split(source: str) -> tuple[str, str]:
    place, _, subfolder = source.partition("#")
    parts = PurePosixPath(subfolder).parts
    if not place or place.startswith("-") or ".." in parts or subfolder.startswith("/"):
        raise UsageError(f"{source!r} is no project; write FOLDER or GIT-URI, with #SUBFOLDER inside it if need be")
    return place, subfolder


def _is_git(place: str) -> bool:
    return place.startswith(("https://", "http://", "ssh://", "git://", "file://", "git@")) or place.endswith(".git")


def _is_bare(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir()


def _inside(folder: Path, subfolder: str, source: str) -> Path:
    project = (folder / subfolder).resolve()
    if not project.is_relative_to(folder.resolve()) or not project.is_dir():
        raise UsageError(f"{source!r} has no folder {subfolder!r}; correct what stands behind #")
    return project


def _clone(origin: str, version: str | None, clone: Path) -> Path:
    """Clone `origin` at `version`; returns where in the clone a local `origin` that is a subfolder lies."""
    if shutil.which("git") is None:
        raise TrainingError("git is not installed; install it, or give the project as a folder")
    if version is not None and version.startswith("-"):
        raise UsageError(f"{version!r} is no branch, tag or commit; correct --git-version")
    above = Path()
    if Path(origin).is_dir() and not _is_bare(Path(origin)):
        top = _git("-C", origin, "rev-parse", "--show-toplevel", failure=f"{origin} is in no git repository")
        above = Path(origin).resolve().relative_to(top)
        origin = top
    _git("clone", "--quiet", "--no-checkout", "--", origin, str(clone), failure=f"{origin} cannot be cloned")
    _check_out(clone, version, origin)
    return above


def _check_out(clone: Path, version: str | None, origin: str) -> None:
    # A branch exists in a clone as the origin's; a tag or a commit as itself.
    names = [f"refs/remotes/origin/{version}", f"refs/tags/{version}", version] if version else ["HEAD"]
    for name in names:
        command = [
            "git",
            "-C",
            str(clone),
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{name}^{{commit}}",
        ]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if commit:
            _git("-C", str(clone), "checkout", "--quiet", "--detach", commit, failure=f"{commit} cannot be checked out")
            _git("-C", str(clone), "submodule", "--quiet", "update", "--init", "--recursive", failure="submodules")
            return
    raise UsageError(f"{redacted(origin)} has no branch, tag or commit {version!r}; correct --git-version")


def _git(*arguments: str, failure: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"git exited with {done.returncode}"
        raise TrainingError(redacted(f"{failure} ({reason}); check the address and your access"))
    return done.stdout.strip()
