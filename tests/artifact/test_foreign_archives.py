"""What Python, Info-ZIP, Java's jar and GNU tar write opens, and they read what Legion writes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from zip_forge import FILES

from legion.artifact.archive import open_artifact, pack, verify

DATA = os.urandom(200_000) + bytes(200_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for name, data in {**FILES, "deep/er/weights.bin": DATA, "é/café.txt": b"e", "empty": b""}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "nothing here").mkdir()
    return root


def opens(path: Path) -> None:
    artifact = open_artifact(path)
    verify(artifact)
    assert {member.name for member in artifact.members} - {"META-INF/MANIFEST.MF"} == {
        *FILES, "deep/er/weights.bin", "é/café.txt", "empty",
    }  # fmt: skip
    assert artifact.read("deep/er/weights.bin") == DATA


def run(command: list[str], folder: Path, **options: Any) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run(command, cwd=folder, check=True, stdout=options.pop("stdout", subprocess.DEVNULL), **options)


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_shutil(folder: Path, tmp_path: Path, kind: str) -> None:
    opens(Path(shutil.make_archive(str(tmp_path / "a"), kind, folder)))


class Stream(io.RawIOBase):
    """A file that cannot seek: zipfile then writes the sizes behind the data."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.file.write(data)


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zipfile_on_a_stream(folder: Path, tmp_path: Path, method: Any, zip64: bool) -> None:
    stream = Stream(tmp_path / "a.zip")
    with zipfile.ZipFile(stream, "w", method) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with archive.open(str(path.relative_to(folder)), "w", force_zip64=zip64) as member:
                    member.write(path.read_bytes())
    stream.file.close()
    opens(tmp_path / "a.zip")


@pytest.mark.parametrize("options", ["-qr", "-qrD", "-qrX", "-qr0", "-qr9", "-qrfz", "-qrfd"])
def test_info_zip(folder: Path, tmp_path: Path, options: str) -> None:
    flags = {"-qrfz": ["-qr", "-fz"], "-qrfd": ["-qr", "-fd"]}.get(options, [options])
    run(["zip", *flags, str(tmp_path / "a.zip"), "."], folder)
    opens(tmp_path / "a.zip")


def test_info_zip_on_a_stream(folder: Path, tmp_path: Path) -> None:
    with (tmp_path / "a.zip").open("wb") as out:
        run(["zip", "-qr", "-", "."], folder, stdout=out, stdin=subprocess.DEVNULL)
    opens(tmp_path / "a.zip")


@pytest.mark.slow
@pytest.mark.parametrize("options", ["cf", "cfM", "cf0M"])
def test_jar(folder: Path, tmp_path: Path, options: str) -> None:
    run(["jar", options, str(tmp_path / "a.zip"), "."], folder, env={**os.environ, "LC_ALL": "C.UTF-8"})
    opens(tmp_path / "a.zip")


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7"])
def test_gnu_tar(folder: Path, tmp_path: Path, form: str) -> None:
    run(["tar", f"--format={form}", "-czf", str(tmp_path / "a.zip"), "."], folder)
    opens(tmp_path / "a.zip")


@pytest.mark.parametrize("command", [["unzip", "-tq"], ["zip", "-Tq"], ["jar", "tf"]], ids=["unzip", "zip", "jar"])
def test_others_read_what_legion_writes(folder: Path, tmp_path: Path, command: list[str]) -> None:
    pack(
        folder,
        open_artifact(Path(shutil.make_archive(str(tmp_path / "a"), "zip", folder))).manifest,
        tmp_path / "b.zip",
    )
    run([*command, str(tmp_path / "b.zip")], tmp_path)
