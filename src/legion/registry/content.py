"""What an artifact holds as one hash, whatever compressed it, so that a pulled folder can be compared.

The digest of the file depends on the deflater of the machine that packed it; this hash covers each file's name,
size and bytes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from legion.artifact import folder as folders
from legion.artifact import mlmodel
from legion.errors import ArchiveError, VerificationError
from legion.registry import flavor

_META = "registered_model_meta"


def hash_of(tree: Path) -> str:
    """`sha256:<hex>` over all files below `tree`. Raises ArchiveError for links that leave it."""
    return _combined(_lines(tree).values())


def restore(tree: Path, expected: str, what: str) -> None:
    """Make `tree` what was pushed: remove what MLflow, Python and the flavor have put beside it since.

    Raises VerificationError, which names `what`, where no removal gives the content that is `expected`.
    """
    try:
        lines = _lines(tree)
    except (ArchiveError, OSError) as error:
        raise VerificationError(f"{what} is not what was registered ({error}); register it again") from None
    for extra in _EXTRAS:
        kept = {name: line for name, line in lines.items() if not extra(name)}
        if _combined(kept.values()) == expected:
            for name in lines.keys() - kept.keys():
                (tree / name).unlink()
            _prune(tree)
            return
    raise VerificationError(
        f"{what} is not what was registered: its files were changed or damaged in the store; register it again"
    )


def leave_out_flavor(tree: Path) -> None:
    """Remove the flavor's own files from a tree that has them."""
    if flavor.is_in(tree):
        shutil.rmtree(tree / flavor.FOLDER, ignore_errors=True)
        (tree / mlmodel.FILE_NAME).unlink()


def _compiled(name: str) -> bool:
    return "__pycache__" in name.split("/")[:-1]


# From the least removed to the most: an artifact may have such files of its own.
_EXTRAS: tuple[Callable[[str], bool], ...] = (
    lambda name: False,
    lambda name: name == _META,
    lambda name: name == _META or flavor.added(name),
    lambda name: name == _META or _compiled(name),
    lambda name: name == _META or flavor.added(name) or _compiled(name),
)


def _lines(tree: Path) -> dict[str, bytes]:
    lines = {}
    for source in folders.files(tree):
        with source.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        lines[source.name] = f"{source.name}\0{source.size}\0{content}\n".encode()
    return lines


def _combined(lines: Iterable[bytes]) -> str:
    return f"sha256:{hashlib.sha256(b''.join(sorted(lines))).hexdigest()}"


def _prune(tree: Path) -> None:
    """Remove folders that hold nothing any more; an artifact has none."""
    for folder in sorted((path for path in tree.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
