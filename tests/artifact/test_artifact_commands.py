"""`legion inspect`, `verify` and `unpack` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from zip_forge import FILES, Forged, forge, good, with_member


def legion(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "legion.cli.main", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "wine.zip"
    path.write_bytes(with_member())
    return path


def test_inspect(artifact: Path) -> None:
    done = legion("inspect", artifact)
    assert (done.returncode, done.stderr) == (0, "")
    assert "wine 1.0.0-1" in done.stdout
    assert "x.bin" in done.stdout
    found = json.loads(legion("inspect", artifact, "--json").stdout)
    assert found["manifest"]["model"] == {
        "name": "wine", "version": "1.0.0-1", "workDir": ".", "entrypoint": "entrypoint",
    }  # fmt: skip
    assert found["digest"].startswith("sha256:")
    assert {"name": "x.bin", "size": 4} in found["members"]


def test_verify(artifact: Path, tmp_path: Path) -> None:
    done = legion("verify", artifact)
    assert done.returncode == 0
    assert "is complete: 3 files" in done.stdout
    assert json.loads(legion("verify", artifact, "--json").stdout)["ok"] is True
    artifact.write_bytes(with_member(crc=1))
    done = legion("verify", artifact, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False
    assert "x.bin" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_reads_the_golden_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(forge(*good(), Forged(b"legion.golden.json", b"{}")))
    done = legion("verify", path)
    assert done.returncode == 1
    assert "legion.golden.json" in done.stderr


def test_unpack(artifact: Path, tmp_path: Path) -> None:
    done = legion("unpack", artifact, tmp_path / "out")
    assert done.returncode == 0
    assert (tmp_path / "out" / "legion.model.yaml").read_bytes() == FILES["legion.model.yaml"]
    done = legion("unpack", artifact, tmp_path / "out")
    assert done.returncode == 2
    assert "there already" in done.stderr


def test_every_manifest_fault_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    text = FILES["legion.model.yaml"].replace(b"wine", b"a b").replace(b"1.0.0-1", b"one")
    path.write_bytes(forge(Forged(b"legion.model.yaml", text), Forged(b"conda.yaml")))
    done = legion("inspect", path)
    assert done.returncode == 1
    assert "model.name" in done.stderr
    assert "model.version" in done.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = legion("inspect", tmp_path / "no.zip")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
