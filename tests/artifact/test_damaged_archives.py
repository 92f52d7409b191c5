"""One byte changed anywhere: the archive is refused in Legion's own words, or its content is what it was."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zip_forge import FILES, Forged, forge, good

from legion.artifact.archive import open_artifact
from legion.errors import LegionError

CONTENT = {**FILES, "a/b.txt": b"row\n" * 300}


def zipped() -> bytes:
    return forge(*good(), Forged(b"a/b.txt", CONTENT["a/b.txt"]), comment=b"note")


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in CONTENT.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tar_gz(tar: bytes) -> bytes:
    return gzip.compress(tar, mtime=0)


def check(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        artifact = open_artifact(path)
        found = {member.name: artifact.read(member.name) for member in artifact.members}
    except LegionError:
        return
    assert found == CONTENT


ZIP, TAR = zipped(), tarred()
PACKED_TAR = tar_gz(TAR)
CHANGE = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255))


def changed(data: bytes, change: tuple[float, int]) -> bytes:
    at = int(change[0] * len(data))
    return data[:at] + bytes([data[at] ^ change[1]]) + data[at + 1 :]


@settings(max_examples=400, deadline=None)
@given(CHANGE)
def test_a_changed_zip(tmp_path_factory: pytest.TempPathFactory, change: tuple[float, int]) -> None:
    check(tmp_path_factory.getbasetemp() / "changed.zip", changed(ZIP, change))


@settings(max_examples=400, deadline=None)
@given(CHANGE)
def test_a_changed_gzip(tmp_path_factory: pytest.TempPathFactory, change: tuple[float, int]) -> None:
    check(tmp_path_factory.getbasetemp() / "changed.zip", changed(PACKED_TAR, change))


@pytest.mark.parametrize("cut", range(1, len(ZIP), 37))
def test_a_zip_cut_anywhere(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.zip").write_bytes(ZIP[:cut])
    with pytest.raises(LegionError):
        open_artifact(tmp_path / "a.zip")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TAR) - 1), st.integers(1, 255))
def test_a_changed_tar_ends_in_legion_s_own_words(tmp_path_factory: pytest.TempPathFactory, at: Any, mask: Any) -> None:
    """A tar has no checksum over its data, so here only the manner of the refusal is checked."""
    path = tmp_path_factory.getbasetemp() / "changed.zip"
    path.write_bytes(tar_gz(TAR[:at] + bytes([TAR[at] ^ mask]) + TAR[at + 1 :]))
    try:
        artifact = open_artifact(path)
        for member in artifact.members:
            artifact.read(member.name)
    except LegionError:
        pass
