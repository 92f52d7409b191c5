"""A gzip'ed tar under the name .zip opens; the same faults as in a ZIP are refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from zip_forge import FILES

from legion.artifact.archive import Artifact, open_artifact, unpack, verify
from legion.artifact.limits import Limits
from legion.errors import ArchiveError

REG = tarfile.REGTYPE


def tarred(
    *more: tuple[str, dict[str, Any]], form: int = tarfile.PAX_FORMAT, prefix: str = "", **options: Any
) -> bytes:
    """A tar of a good artifact and of further members (name, TarInfo's fields, `data` among them)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, **options) as tar:
        for name, fields in [*((prefix + name, {"data": data}) for name, data in FILES.items()), *more]:
            info = tarfile.TarInfo(name)
            data = fields.get("data", b"")
            info.size = len(data)
            for key, value in fields.items():
                if key != "data":
                    setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def opened(tmp_path: Path, tar: bytes, *, packed: bytes | None = None, **options: Any) -> Artifact:
    path = tmp_path / "a.zip"
    path.write_bytes(gzip.compress(tar, mtime=0) if packed is None else packed)
    return open_artifact(path, **options)


def refused(tmp_path: Path, tar: bytes = b"", **options: Any) -> ArchiveError:
    with pytest.raises(ArchiveError) as found:
        opened(tmp_path, tar, **options)
    assert "\n" not in str(found.value)
    return found.value


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_opens_and_unpacks(tmp_path: Path, form: int, prefix: str) -> None:
    long = "d/" + "n" * 90 + "/" + "m" * 90
    data = bytes(range(256)) * 5000
    more = [("d", {"type": tarfile.DIRTYPE}), (long, {"data": data}), ("é", {"data": b"e"})]
    artifact = opened(tmp_path, tarred(*more, form=form, prefix=prefix))
    verify(artifact)
    assert artifact.manifest.model.name == "wine"
    assert artifact.read(long) == data
    unpack(artifact, tmp_path / "out")
    assert (tmp_path / "out" / long).read_bytes() == data
    assert (tmp_path / "out" / "é").read_bytes() == b"e"
    with pytest.raises(ArchiveError):
        artifact.read("nothing")


TYPES = {
    "symlink": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "hard link": {"type": tarfile.LNKTYPE, "linkname": "conda.yaml"},
    "character device": {"type": tarfile.CHRTYPE},
    "block device": {"type": tarfile.BLKTYPE},
    "pipe": {"type": tarfile.FIFOTYPE},
    "contiguous": {"type": tarfile.CONTTYPE},
    "sparse": {"type": tarfile.GNUTYPE_SPARSE},
    "unknown": {"type": b"Z"},
    "folder with data": {"type": tarfile.DIRTYPE, "data": b"12345"},
}


@pytest.mark.parametrize("fields", TYPES.values(), ids=TYPES)
def test_all_that_is_neither_file_nor_folder(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert refused(tmp_path, tarred(("x", fields))).member == "x"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\x", "a\nx", "C:x", "x ", "x.", "a//x", "././x"])
def test_unsafe_names(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, tarred((name, {"data": b"x"}))).member in (name, name.removeprefix("./"))


@pytest.mark.parametrize(("first", "second"), [("x", "x"), ("x", "X"), ("x", "x/y"), ("café", "cafe\u0301")])
def test_names_that_collide(tmp_path: Path, first: str, second: str) -> None:
    refused(tmp_path, tarred((first, {}), (second, {})))


def test_names_in_extended_headers_count(tmp_path: Path) -> None:
    assert refused(tmp_path, tarred(("x", {"pax_headers": {"path": "../x"}}))).member == "../x"
    long = "../" + "x" * 120
    assert refused(tmp_path, tarred((long, {}), form=tarfile.GNU_FORMAT)).member == long


def test_extended_headers_that_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, tarred(("x", {"pax_headers": {"GNU.sparse.major": "1"}})))
    refused(tmp_path, tarred(pax_headers={"path": "y"}))
    assert opened(tmp_path, tarred(pax_headers={"comment": "of git archive"}))
    refused(tmp_path, tarred(("x", {"pax_headers": {"comment": "x" * 2_000_000}})))
    good = tarred(("x", {"pax_headers": {"comment": "marker"}}))
    for lie in (b"99 comment=marker", b"xx comment=marker", b"18 comment*marker", b" 8 comment=marker"):
        refused(tmp_path, good.replace(b"18 comment=marker", lie))


def test_damage(tmp_path: Path) -> None:
    tar = tarred(("x", {"data": b"data"}))
    packed = gzip.compress(tar, mtime=0)
    end = tarred(form=tarfile.USTAR_FORMAT).rstrip(b"\0")
    refused(tmp_path, tar[:-10240])
    refused(tmp_path, end[:700] + b"\0" * 10)
    refused(tmp_path, tar.replace(b"data" + bytes(508), b"data" + bytes(507) + b"!"))
    refused(tmp_path, tar + b"tail")
    refused(tmp_path, b"\1" + tar)
    refused(tmp_path, packed=packed + b"tail")
    refused(tmp_path, packed=packed + packed)
    refused(tmp_path, packed=packed[:-1])
    refused(tmp_path, packed=packed[:-8] + bytes(8))
    refused(tmp_path, packed=packed[:20] + b"\xff" * 20 + packed[40:])


def test_limits(tmp_path: Path) -> None:
    tar = tarred(*((str(number), {}) for number in range(9)))
    assert opened(tmp_path, tar, limits=Limits(members=11))
    refused(tmp_path, tar, limits=Limits(members=10))
    big = tarred(("x", {"data": bytes(3_000_000)}))
    assert opened(tmp_path, big)
    assert refused(tmp_path, big, limits=Limits(total_bytes=2_000_000)).member == "x"
    refused(tmp_path, big, limits=Limits(ratio_from=1_000_000))
