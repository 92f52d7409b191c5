from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "legion.cli.main", "doctor", *arguments]


def environment(**changes: str) -> dict[str, str]:
    dropped = ("MLFLOW_TRACKING_URI", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
    return {name: value for name, value in os.environ.items() if name not in dropped} | changes


def doctor(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(**changes), check=False)


def test_plain_lines_are_aligned_and_say_what_to_do(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    result = doctor(LEGION_CACHE=str(tmp_path / "cache"), PATH=str(programs))
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert "\x1b" not in result.stdout
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "missing"}
    column = len("missing ") + len("MLFLOW_TRACKING_URI") + 2
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)
    [git] = [line for line in lines if line[8:].startswith("git ")]
    assert git.startswith("missing ")
    assert "for train from a git address: " in git
    assert git.endswith("install git")


def test_json(tmp_path: Path) -> None:
    result = doctor("--json", LEGION_CACHE=str(tmp_path))
    report = msgspec.json.decode(result.stdout)
    assert (result.returncode, report["ok"]) == (0, True)
    names = [check["name"] for check in report["checks"]]
    assert {"Python", "uv", "cache", "mlflow", "pyarrow", "MLFLOW_TRACKING_URI", "git", "Java"} <= set(names)
    assert {check["state"] for check in report["checks"]} <= {"ok", "warn", "missing"}
    for check in report["checks"]:
        assert check["state"] == "ok" or (check["enables"] and check["remedy"])


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_something_necessary_missing_is_code_1(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("")
    result = doctor(*arguments, LEGION_CACHE=str(tmp_path / "file" / "cache"))
    assert (result.returncode, result.stderr) == (1, "")
    assert "cannot be written" in result.stdout


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    secret = {
        "MLFLOW_TRACKING_URI": "http://user:hunter2@127.0.0.1:9",
        "PIP_INDEX_URL": "https://user:hunter2@index.invalid/simple",
        "UV_DEFAULT_INDEX": "https://user:hunter2@index.invalid/simple",
    }
    for arguments in ((), ("--json",)):
        result = doctor(*arguments, LEGION_CACHE=str(tmp_path), **secret)
        assert result.returncode == 0
        assert "does not answer" in result.stdout
        assert "hunter2" not in result.stdout + result.stderr


def test_a_table_on_a_terminal(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    changes = environment(LEGION_CACHE=str(tmp_path), TERM="xterm", COLUMNS="100")
    with subprocess.Popen(command(), stdout=follower, env=changes) as process:
        os.close(follower)
        output = b""
        while chunk := _read(leader):
            output += chunk
    os.close(leader)
    assert process.returncode == 0
    assert "│" in output.decode()
    assert b"\x1b[32m" in output


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux ends a terminal whose other side is closed with an error.
        return b""


def test_mlflow_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['legion', 'doctor']\n"
        "from legion.cli.main import cli\n"
        "cli.main(standalone_mode=False)\n"
        "assert not {'mlflow', 'pandas', 'pyarrow', 'numpy'} & sys.modules.keys()\n"
    )
    changes = environment(LEGION_CACHE=str(tmp_path))
    subprocess.run([sys.executable, "-c", code], check=True, env=changes, capture_output=True)
