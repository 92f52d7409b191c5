"""What is inflated is counted and compared; a lie about it is found at the first byte too many."""

from __future__ import annotations

import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from zip_forge import deflated, with_member

from legion.artifact.archive import open_artifact, unpack, verify
from legion.errors import ArchiveError

DATA = bytes(range(256)) * 64

LIES = {
    "fewer bytes than there are": {"size": 100},
    "more bytes than there are": {"size": len(DATA) + 1},
    "another checksum": {"crc": 1},
    "data that is no deflate": {"packed": b"\xff" * 50},
    "data that never ends": {"packed": deflated(DATA)[:-3]},
    "no data": {"packed": b""},
    "bytes behind the data": {"packed": deflated(DATA) + b"more"},
    "stored, with another checksum": {"method": 0, "crc": 1},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_member_that_is_not_what_it_says(tmp_path: Path, lie: Any) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(with_member(**{"data": DATA, **lie}))
    artifact = open_artifact(path)
    for look in (lambda: verify(artifact), lambda: artifact.read("x.bin"), lambda: unpack(artifact, tmp_path / "d")):
        with pytest.raises(ArchiveError) as found:
            look()
        assert found.value.member == "x.bin"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
@pytest.mark.parametrize("method", [0, 8])
def test_sizes_around_a_block(tmp_path: Path, size: int, method: int) -> None:
    data = (DATA * (size // len(DATA) + 1))[:size]
    path = tmp_path / "a.zip"
    path.write_bytes(with_member(data=data, method=method))
    assert open_artifact(path).read("x.bin") == data


def zeros(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)) * mebibytes + b"\x03\x00"


def test_a_bomb_that_lies_costs_no_memory(tmp_path: Path) -> None:
    """400 MB of zeros that say they are 5 bytes: refused in a process that may use 300 MB."""
    path = tmp_path / "a.zip"
    path.write_bytes(with_member(packed=zeros(400), size=5))
    code = (
        "import sys, pathlib\n"
        "from legion.artifact.archive import open_artifact, verify\n"
        "from legion.errors import ArchiveError\n"
        "try: verify(open_artifact(pathlib.Path(sys.argv[1])))\n"
        "except ArchiveError as error: print(error.member)\n"
    )
    limit = 300 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )
    assert done.stdout.strip() == "x.bin", done.stderr
