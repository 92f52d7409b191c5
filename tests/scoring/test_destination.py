import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from legion.errors import OutsideError, UsageError
from legion.scoring.destination import destination


def test_the_file_appears_whole_at_the_end_only(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with destination(out) as stream:
        stream.write(b"half")
        stream.flush()
        assert not out.exists()
    assert out.read_bytes() == b"half"
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_stays_and_nothing_else(tmp_path: Path, error: Any) -> None:
    out = tmp_path / "out.csv"
    out.write_bytes(b"old")

    def write_half() -> None:
        with destination(out) as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(error):
        write_half()
    assert out.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_the_mode_is_the_users_own(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.touch()
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        for path in (new, old):
            with destination(path):
                pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, old)] == [0o640, 0o640]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    with destination(tmp_path / "link") as stream:
        stream.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"


@pytest.mark.parametrize("path", ["missing/out.csv", "file/out.csv", "."])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match=r"cannot write .*choose another place"),
        destination(tmp_path / path),
    ):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux only")
def test_a_full_disk_is_an_error_and_a_device_is_not_replaced() -> None:
    with pytest.raises(OutsideError, match="No space left"), destination(Path("/dev/full")) as stream:
        stream.write(b"x" * 100_000)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_none_is_standard_output() -> None:
    code = "from legion.scoring.destination import destination\nwith destination(None) as stream: stream.write(b'here')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"here"
