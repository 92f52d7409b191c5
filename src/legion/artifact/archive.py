"""LMAF, the artifact: pack a folder into one file, open such a file without trusting it, unpack it.

Look before you run: nothing here executes or repairs what an archive holds. docs/format.md is the contract.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import msgspec

from legion.artifact import folder as folders
from legion.artifact import manifest as manifests
from legion.artifact.contents import Container, Member
from legion.artifact.limits import DEFAULT, Limits
from legion.artifact.manifest import Manifest
from legion.artifact.member_names import check_names
from legion.artifact.tar_reader import TarContainer
from legion.artifact.zip.reader import ZipContainer
from legion.artifact.zip.writer import BLOCK, ZipWriter
from legion.disk import durable, lock
from legion.disk.cache import ARTIFACTS, Note, claim, hold, keep
from legion.errors import ArchiveError, Fault, ManifestError, OutsideError, UsageError

Advance = Callable[[int], object]

_ZIP, _GZIP = b"PK\x03\x04", b"\x1f\x8b"
_FIX_DISK = "free some space, or choose another place"
_THREADS = 8


class Artifact(msgspec.Struct, frozen=True):
    """An artifact that was found safe by its records. `digest` is `sha256:<hex>` of the file's bytes.

    Its members are inflated, and their checksums compared, when they are read. `stamp` tells whether the file
    on the disk is still the one that was checked.
    """

    path: Path
    digest: str
    manifest: Manifest
    container: Container
    stamp: tuple[int, int, int, int]

    @property
    def members(self) -> tuple[Member, ...]:
        """All files, in the file's order."""
        return self.container.members

    @property
    def size(self) -> int:
        """What all files inflate to, in bytes."""
        return sum(member.size for member in self.members)

    def read(self, name: str) -> bytes:
        """One file's bytes. Raises ArchiveError where it is damaged or not there."""
        if all(member.name != name for member in self.members):
            raise ArchiveError(f"{self.path} holds no {name!r}; legion inspect lists what it holds", name)
        with self.opened() as file:
            return b"".join(self.container.blocks(file, name))

    @contextmanager
    def opened(self) -> Iterator[BufferedReader]:
        """The file itself. Raises ArchiveError where it was changed since it was checked."""
        with _reading(self.path) as file:
            if _stamp(file) != self.stamp:
                raise ArchiveError(f"{self.path} was changed since it was opened; open it again")
            yield file


@contextmanager
def _reading(path: Path) -> Iterator[BufferedReader]:
    """An open file, with what can be wrong with it in Legion's terms."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}; give the path of an artifact") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; give the path of an artifact, or pack it first") from None
    except OSError as error:
        raise OutsideError(f"{path} cannot be read: {error.strerror}; check the file and the disk") from None


def _stamp(file: BinaryIO) -> tuple[int, int, int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _digest(file: BufferedReader) -> str:
    file.seek(0)
    return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes."""
    with _reading(path) as file:
        return _digest(file)


def _container(file: BinaryIO, path: Path, limits: Limits) -> Container:
    """Tell the container by its first bytes, whatever the file is called."""
    length = os.fstat(file.fileno()).st_size
    magic = file.read(4)
    if magic == _ZIP:
        return ZipContainer(file, length, limits)
    if magic[:2] == _GZIP:
        return TarContainer(file, length, limits)
    raise ArchiveError(f"{path} is neither a ZIP nor a gzip'ed tar from its first byte on; give an artifact")


def _manifest(file: BinaryIO, path: Path, container: Container, limits: Limits) -> Manifest:
    """The one manifest at the root, under any of its names."""
    sizes = {member.name: member.size for member in container.members}
    found = [name for name in manifests.FILE_NAMES if name in sizes]
    if len(found) != 1:
        fault = (
            f"holds {len(found)} manifests, {' and '.join(found)}; keep one"
            if found
            else f"holds no {manifests.FILE_NAME} at its root"
        )
        raise ManifestError(str(path), [Fault("(archive)", fault)])
    name = found[0]
    if sizes[name] > limits.manifest_bytes:
        raise ManifestError(name, [Fault("(file)", f"is larger than {limits.manifest_bytes:,} bytes; shorten it")])
    manifest = manifests.parse(b"".join(container.blocks(file, name)), name, most=limits.manifest_bytes)
    manifests.check_paths(manifest, set(sizes), name)
    return manifest


def open_artifact(path: Path, *, limits: Limits = DEFAULT) -> Artifact:
    """Check every record of the file, and read its manifest. A gzip'ed tar is inflated whole, a ZIP is not.

    Raises ArchiveError, which names the member, for all that is unsafe or has two readings; ManifestError;
    UsageError where there is no file; OutsideError where the disk fails.
    """
    with _reading(path) as file:
        stamp = _stamp(file)
        container = _container(file, path, limits)
        manifest = _manifest(file, path, container, limits)
        return Artifact(path, _digest(file), manifest, container, stamp)


def verify(artifact: Artifact, *, advance: Advance | None = None) -> None:
    """Inflate every member and compare its checksum. Raises ArchiveError with the first one at fault."""
    with artifact.opened() as file:
        for content in artifact.container.walk(file):
            for block in content.blocks:
                if advance is not None:
                    advance(len(block))


def _blocks(source: folders.Source, advance: Advance | None) -> Iterator[bytes]:
    with source.path.open("rb") as file:
        while data := file.read(BLOCK):
            yield data
            if advance is not None:
                advance(len(data))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What can go wrong with a disk, in Legion's terms."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise OutsideError(f"{path} was not made: {where}: {error.strerror}; {_FIX_DISK}") from None


def _sources(folder: Path, out: Path) -> list[folders.Source]:
    """What of a folder is packed: all but a manifest at its root, which the new one replaces."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give the folder to pack")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}; make it, or write the artifact to another place")
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{out} is inside the folder that is packed; write the artifact to another place")
    return [source for source in folders.files(folder) if source.name not in manifests.FILE_NAMES]


def pack(
    folder: Path, manifest: Manifest, out: Path, *, advance: Advance | None = None, limits: Limits = DEFAULT
) -> str:
    """Write a folder and its manifest as a ZIP and return the file's digest.

    The same files and manifest give the same bytes: names sorted, times and modes fixed. Links inside the
    folder are followed, empty folders left out. What `open_artifact` would refuse is refused here, and nothing
    partial is ever at `out`. `advance` gets the bytes as they are read. Raises UsageError, ManifestError,
    ArchiveError, and OutsideError where the disk fails.
    """
    rendered = manifests.render(manifest)
    sources = _sources(folder, out)
    names = [source.name for source in sources]
    check_names([manifests.FILE_NAME, *names])
    manifests.check_paths(manifest, set(names), manifests.FILE_NAME)
    if len(names) >= limits.members or sum(source.size for source in sources) > limits.total_bytes:
        raise ArchiveError(
            f"{folder} holds more than {limits.members:,} files or {limits.total_bytes:,} bytes; pack less"
        )
    sha = hashlib.sha256()
    with _writing(out), durable.new_file(out) as file:

        def sink(data: bytes) -> None:
            file.write(data)
            sha.update(data)

        with ZipWriter(sink, min(_THREADS, os.cpu_count() or 1)) as writer:
            own = folders.Source(manifests.FILE_NAME, folder, len(rendered))
            for source in sorted([own, *sources], key=lambda source: source.name):
                blocks = iter([rendered]) if source is own else _blocks(source, advance)
                if writer.add(source.name, source.size, blocks) != source.size:
                    raise ArchiveError(f"{source.path} changed while it was packed; pack again", source.name)
            writer.finish()
    return f"sha256:{sha.hexdigest()}"


def _write_file(path: Path, blocks: Iterator[bytes], advance: Advance | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
            if advance is not None:
                advance(len(block))
        file.flush()
        os.fsync(file.fileno())


def unpack(artifact: Artifact, folder: Path, *, advance: Advance | None = None) -> None:
    """Write all members into a new (or empty) folder; it is there whole or not at all.

    `advance` gets the bytes as they are written. Raises UsageError where the folder holds something already,
    ArchiveError where a member is not what its record says, OutsideError where the disk fails.
    """
    target = folder.resolve()
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}; make it, or unpack to another place")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{folder} is there already; give a new folder")
    with artifact.opened() as file, _writing(folder), durable.new_folder(target) as part:
        for content in artifact.container.walk(file):
            if content.is_folder:
                (part / content.name).mkdir(parents=True, exist_ok=True)
            # A folder's blocks are none, but reading them checks that.
            blocks = content.blocks
            if not content.is_folder:
                _write_file(part / content.name, blocks, advance)
            for _ in blocks:
                pass


def unpacked(artifact: Artifact, cache: Path, *, advance: Advance | None = None) -> Path:
    """The artifact's content as the folder `cache/artifacts/<hex of its digest>`, made once.

    Of several makers at once one unpacks and the others wait; one that fails or is killed leaves nothing that
    counts. Whoever uses the folder must not write into it. It is kept (cache.py) for this process.
    """
    folder = _place(artifact.digest, cache)
    with _writing(folder), claim(folder) as held:
        if not folder.is_dir():
            _unpack_once(artifact, folder, advance)
            model = artifact.manifest.model
            held.note(Note(artifact.size, f"{model.name} {model.version}"))
        keep(hold(folder))
    return folder


def _unpack_once(artifact: Artifact, folder: Path, advance: Advance | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock.transient(folder.with_suffix(".lock")):
        if not folder.is_dir():
            durable.remove_leftovers(folder)
            unpack(artifact, folder, advance=advance)


def cached(digest: str, cache: Path) -> Path | None:
    """The folder that `unpacked` made of the artifact with this digest, or None; it is kept for this process too."""
    folder = _place(digest, cache)
    keep(hold(folder))
    return folder if folder.is_dir() else None


def _place(digest: str, cache: Path) -> Path:
    return cache / ARTIFACTS / digest.removeprefix("sha256:")
