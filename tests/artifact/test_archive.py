"""Packing is deterministic, opening and unpacking give back what was packed, and nothing is ever half there."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zip_forge import FILES, Forged, forge, good

from legion.artifact.archive import digest, open_artifact, pack, unpack, unpacked, verify
from legion.artifact.limits import Limits
from legion.artifact.manifest import FILE_NAMES, Binaries, Manifest, Model, Toolchain, parse
from legion.artifact.member_names import fault, fold
from legion.artifact.zip.writer import BLOCK, deflate_block
from legion.errors import ArchiveError, ManifestError, OutsideError, UsageError

MANIFEST = Manifest(Model("wine", "1.0.0-1"), Toolchain("test", "1"), Binaries(conda_path="conda.yaml"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "conda.yaml").write_text("dependencies: [python=3.11]\n")
    (root / "deep" / "er" / "weights.bin").write_bytes(os.urandom(2 * BLOCK + 17))
    (root / "é.txt").write_text("e")
    (root / "empty").write_bytes(b"")
    return root


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_round_trip(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "wine.zip"
    counted: list[int] = []
    told = pack(folder, MANIFEST, out, advance=counted.append)
    artifact = open_artifact(out)
    assert told == artifact.digest == digest(out) == f"sha256:{hashlib.sha256(out.read_bytes()).hexdigest()}"
    assert artifact.manifest == MANIFEST
    assert sum(counted) == sum(len(data) for data in content(folder).values())
    written: list[int] = []
    unpack(artifact, tmp_path / "out", advance=written.append)
    assert sum(written) == artifact.size
    found = content(tmp_path / "out")
    assert parse(found.pop("legion.model.yaml"), "x") == MANIFEST
    assert found == content(folder)
    assert artifact.read("é.txt") == b"e"
    with pytest.raises(ArchiveError, match="holds no"):
        artifact.read("deep")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out", "wine.zip"]


def test_the_bytes_do_not_depend_on_clock_mode_or_order(folder: Path, tmp_path: Path) -> None:
    first = pack(folder, MANIFEST, tmp_path / "1.zip")
    other = tmp_path / "other"
    other.mkdir()
    for name, data in sorted(content(folder).items(), reverse=True):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(data)
        (other / name).chmod(0o700)
        os.utime(other / name, (1e9, 1e9))
    assert pack(other, MANIFEST, tmp_path / "2.zip") == first


# ISA-L's bytes are the same on all processors of one architecture, not across them.
PINNED = {
    "x86_64": "sha256:846781eab7040ea27bdd3f2c7a28ae140ee0b5f755e250ee6988e3b73151a76e",
    "aarch64": "sha256:4ee2d2c4136f2439831580fb0decd4d0dc650496c775e0dbf8dc6c24d20f23d8",
}


@pytest.mark.skipif(platform.machine() not in PINNED, reason="no digest is pinned for this architecture")
def test_the_bytes_are_pinned(tmp_path: Path) -> None:
    """A change here means that packing the same model again gives another digest: a new release must say so."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "conda.yaml").write_text("dependencies: [python=3.11]\n")
    (tmp_path / "m" / "zeros").write_bytes(bytes(BLOCK + 5))
    (tmp_path / "m" / "rows.csv").write_text("".join(f"{n},{n * n % 97},{n / 7:.3f}\n" for n in range(100_000)))
    assert pack(tmp_path / "m", MANIFEST, tmp_path / "m.zip") == PINNED[platform.machine()]


SEGMENT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
NAME = st.lists(SEGMENT.filter(lambda part: "/" not in part), min_size=1, max_size=3).map("/".join)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    names = draw(st.lists(NAME.filter(lambda name: fault(name) is None and name not in FILE_NAMES), max_size=6))
    kept: dict[str, bytes] = {}
    taken = {fold("conda.yaml"), *map(fold, FILE_NAMES)}
    for name in names:
        parts = name.split("/")
        lead = {fold("/".join(parts[:depth])) for depth in range(1, len(parts) + 1)}
        if not lead & taken:
            taken |= lead
            kept[name] = draw(st.binary(max_size=2000)) * draw(st.sampled_from([1, 1, 700]))
    return kept


@settings(max_examples=60, deadline=None)
@given(trees())
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]) -> None:
    place = tmp_path_factory.mktemp("tree")
    try:
        for name, data in {**tree, "conda.yaml": b"x"}.items():
            (place / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "in" / name).write_bytes(data)
        first = pack(place / "in", MANIFEST, place / "1.zip")
        assert pack(place / "in", MANIFEST, place / "2.zip") == first
        artifact = open_artifact(place / "1.zip")
        verify(artifact)
        unpack(artifact, place / "out")
        found = content(place / "out")
        assert {name: found[name] for name in tree} == tree
        with zipfile.ZipFile(place / "1.zip") as other:
            assert other.testzip() is None
            assert {name: other.read(name) for name in tree} == tree
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("size", [0, 1, BLOCK // 64, BLOCK // 64 + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
@pytest.mark.parametrize("pattern", [b"\0", bytes(range(256))])
def test_sizes_around_a_block(tmp_path: Path, size: Any, pattern: Any) -> None:
    root = tmp_path / "m"
    root.mkdir()
    data = (pattern * (size // len(pattern) + 1))[:size]
    (root / "data").write_bytes(data)
    (root / "conda.yaml").touch()
    pack(root, MANIFEST, tmp_path / "m.zip")
    assert open_artifact(tmp_path / "m.zip").read("data") == data
    with zipfile.ZipFile(tmp_path / "m.zip") as other:
        assert other.read("data") == data


def test_an_empty_model_is_no_bomb(tmp_path: Path) -> None:
    """Weights that are all zeros deflate a thousandfold; what Legion packs must open at Legion's own limits."""
    assert len(deflate_block(bytes(BLOCK))) * Limits().ratio > BLOCK
    root = tmp_path / "m"
    root.mkdir()
    (root / "conda.yaml").touch()
    with (root / "zeros").open("wb") as file:
        file.truncate(100 * BLOCK)
    pack(root, MANIFEST, tmp_path / "m.zip")
    verify(open_artifact(tmp_path / "m.zip"))
    assert (tmp_path / "m.zip").stat().st_size < 3 * BLOCK


def test_links_inside_are_followed_and_others_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "again").symlink_to("conda.yaml")
    (folder / "deep" / "side").symlink_to(folder / "deep" / "er")
    pack(folder, MANIFEST, tmp_path / "a.zip")
    names = {member.name for member in open_artifact(tmp_path / "a.zip").members}
    assert {"again", "deep/side/weights.bin"} <= names
    (tmp_path / "secret").write_text("s")
    for target in (tmp_path / "secret", "/etc/passwd", "../secret", "nowhere", "..", "."):
        link = folder / "link"
        link.symlink_to(target)
        with pytest.raises(ArchiveError) as found:
            pack(folder, MANIFEST, tmp_path / "b.zip")
        assert found.value.member == "link"
        link.unlink()
    assert not (tmp_path / "b.zip").exists()


def test_pipes_and_bad_names_are_refused(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(ArchiveError, match="neither a file nor a folder"):
        pack(folder, MANIFEST, tmp_path / "a.zip")
    (folder / "pipe").unlink()
    for name in ("a\\b", "a\nb", "trailing ", "CONDA.yaml"):
        (folder / name).touch()
        with pytest.raises(ArchiveError):
            pack(folder, MANIFEST, tmp_path / "a.zip")
        (folder / name).unlink()
    (folder / os.fsdecode(b"\xff")).touch()
    with pytest.raises(ArchiveError):
        pack(folder, MANIFEST, tmp_path / "a.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_the_manifest_given_replaces_those_at_the_root(folder: Path, tmp_path: Path) -> None:
    for name in FILE_NAMES:
        (folder / name).write_text("old")
    pack(folder, MANIFEST, tmp_path / "a.zip")
    artifact = open_artifact(tmp_path / "a.zip")
    assert artifact.manifest == MANIFEST
    assert not {*FILE_NAMES[1:]} & {member.name for member in artifact.members}


def test_wrong_usage(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="inside the folder"):
        pack(folder, MANIFEST, folder / "a.zip")
    with pytest.raises(UsageError, match="no folder"):
        pack(tmp_path / "no", MANIFEST, tmp_path / "a.zip")
    with pytest.raises(UsageError, match="no folder"):
        pack(folder, MANIFEST, tmp_path / "no" / "a.zip")
    with pytest.raises(UsageError, match="no file"):
        open_artifact(tmp_path / "no.zip")
    with pytest.raises(UsageError, match="is a folder"):
        open_artifact(folder)
    pack(folder, MANIFEST, tmp_path / "a.zip")
    artifact = open_artifact(tmp_path / "a.zip")
    with pytest.raises(UsageError, match="there already"):
        unpack(artifact, folder)
    with pytest.raises(UsageError, match="no folder"):
        unpack(artifact, tmp_path / "no" / "out")
    (tmp_path / "new").mkdir()
    unpack(artifact, tmp_path / "new")
    with pytest.raises(ArchiveError, match="more than 3"):
        pack(folder, MANIFEST, tmp_path / "b.zip", limits=Limits(members=3))


def test_the_manifest_must_name_what_is_there(folder: Path, tmp_path: Path) -> None:
    java = Manifest(Model("a", "1.0.0-1", "deep", "x.jar"), Toolchain("t", "1"), Binaries("java", "docker"))
    astray = Manifest(Model("a", "1.0.0-1", "no"), Toolchain("t", "1"), Binaries(conda_path="no.yaml"))
    with pytest.raises(ManifestError) as found:
        pack(folder, astray, tmp_path / "a.zip")
    assert {one.path for one in found.value.faults} == {"binaries.conda_path", "model.workDir"}
    with pytest.raises(ManifestError, match=r"deep/x\.jar"):
        pack(folder, java, tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(forge(Forged(b"legion.model.yaml", FILES["legion.model.yaml"])))
    with pytest.raises(ManifestError, match=r"binaries\.conda_path"):
        open_artifact(tmp_path / "a.zip")


@pytest.mark.parametrize("name", FILE_NAMES)
@pytest.mark.parametrize("key", ["legionVersion", "odahuflowVersion"])
def test_historical_names_are_read_by_content(tmp_path: Path, name: Any, key: str) -> None:
    text = FILES["legion.model.yaml"].replace(b"legionVersion", key.encode())
    path = tmp_path / "a.zip"
    path.write_bytes(forge(Forged(name.encode(), text), Forged(b"conda.yaml")))
    assert open_artifact(path).manifest.model.name == "wine"


def test_exactly_one_manifest_of_a_sane_size(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(forge(*good(), Forged(b"odahuflow.model.yaml", FILES["legion.model.yaml"])))
    with pytest.raises(ManifestError, match="2 manifests"):
        open_artifact(path)
    path.write_bytes(forge(Forged(b"sub/legion.model.yaml", FILES["legion.model.yaml"])))
    with pytest.raises(ManifestError, match="no legion"):
        open_artifact(path)
    path.write_bytes(forge(Forged(b"legion.model.yaml", FILES["legion.model.yaml"] + b"#" * 70_000)))
    with pytest.raises(ManifestError, match="larger"):
        open_artifact(path)


def test_a_file_changed_after_it_was_opened(folder: Path, tmp_path: Path) -> None:
    pack(folder, MANIFEST, tmp_path / "a.zip")
    artifact = open_artifact(tmp_path / "a.zip")
    shutil.copy(tmp_path / "a.zip", tmp_path / "b.zip")
    (tmp_path / "b.zip").replace(tmp_path / "a.zip")
    with pytest.raises(ArchiveError, match="was changed"):
        unpack(artifact, tmp_path / "out")


def run(code: str, *args: Path, **options: Any) -> subprocess.Popen[str]:
    head = (
        "import pathlib, sys\nfrom legion.artifact.archive import *\nargs = [pathlib.Path(a) for a in sys.argv[1:]]\n"
    )
    command = [sys.executable, "-c", head + code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


FULL = """
import signal
from legion.artifact.manifest import Binaries, Manifest, Model, Toolchain
from legion.errors import OutsideError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
manifest = Manifest(Model("wine", "1.0.0-1"), Toolchain("test", "1"), Binaries(conda_path="conda.yaml"))
try:
    if len(args) == 2: pack(args[0], manifest, args[1])
    elif args[2].name == "cache": unpacked(open_artifact(args[0]), args[1])
    else: unpack(open_artifact(args[0]), args[1])
except OutsideError as error: print(error)
"""


def test_a_full_disk_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing fails half way."""
    options = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK, BLOCK))}
    (tmp_path / "old.zip").write_bytes(b"old")
    said, failed = run(FULL, folder, tmp_path / "old.zip", **options).communicate()
    assert os.strerror(errno.EFBIG) in said, failed
    assert (tmp_path / "old.zip").read_bytes() == b"old"
    pack(folder, MANIFEST, tmp_path / "a.zip")
    (tmp_path / "place").mkdir()
    said, failed = run(FULL, tmp_path / "a.zip", tmp_path / "place" / "out", Path("plain"), **options).communicate()
    assert os.strerror(errno.EFBIG) in said, failed
    assert list((tmp_path / "place").iterdir()) == []
    said, failed = run(FULL, tmp_path / "a.zip", tmp_path / "place", Path("cache"), **options).communicate()
    assert os.strerror(errno.EFBIG) in said, failed
    assert list((tmp_path / "place" / "artifacts").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "model", "old.zip", "place"]


def test_unpacked_is_made_once(folder: Path, tmp_path: Path) -> None:
    pack(folder, MANIFEST, tmp_path / "a.zip")
    artifact = open_artifact(tmp_path / "a.zip")
    # What a killed maker left behind is cleared away.
    left = tmp_path / "artifacts" / f".{artifact.digest[7:]}.0badf00d.part"
    left.mkdir(parents=True)
    place = unpacked(artifact, tmp_path)
    assert place == tmp_path / "artifacts" / artifact.digest[7:]
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    inode = place.stat().st_ino
    assert unpacked(artifact, tmp_path).stat().st_ino == inode


def test_many_makers_at_once(folder: Path, tmp_path: Path) -> None:
    pack(folder, MANIFEST, tmp_path / "a.zip")
    code = "sys.stdin.read()\nplace = unpacked(open_artifact(args[0]), args[1])\nprint(place, place.stat().st_ino)"
    makers = [run(code, tmp_path / "a.zip", tmp_path, stdin=subprocess.PIPE) for _ in range(4)]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.close()
        maker.stdin = None
    said = {maker.communicate()[0] for maker in makers}
    assert len(said) == 1, said
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == [open_artifact(tmp_path / "a.zip").digest[7:]]


def test_a_damaged_artifact_is_not_cached(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(forge(*good(), Forged(b"x", crc=1)))
    with pytest.raises(ArchiveError):
        unpacked(open_artifact(path), tmp_path)
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_a_disk_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    pack(folder, MANIFEST, tmp_path / "a.zip")
    (tmp_path / "file").touch()
    with pytest.raises(OutsideError, match="was not made"):
        unpacked(open_artifact(tmp_path / "a.zip"), tmp_path / "file")


@pytest.mark.slow
def test_more_than_four_gigabytes(tmp_path: Path) -> None:
    """A sparse file: 64-bit sizes and offsets, read by Legion and by zipfile."""
    root = tmp_path / "m"
    root.mkdir()
    (root / "conda.yaml").touch()
    with (root / "a.bin").open("wb") as file:
        file.truncate(2**32 + 5)
    (root / "z.bin").write_bytes(b"behind")
    pack(root, MANIFEST, tmp_path / "m.zip")
    verify(artifact := open_artifact(tmp_path / "m.zip"))
    assert {member.name: member.size for member in artifact.members}["a.bin"] == 2**32 + 5
    with zipfile.ZipFile(tmp_path / "m.zip") as other:
        assert other.getinfo("a.bin").file_size == 2**32 + 5
        assert other.read("z.bin") == b"behind"
