"""Every command that the README shows is run, in its order, as a reader would run it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert server.poll() is None, "legion serve ended"
        try:
            if requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError("not ready within a minute")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_work_in_order(tmp_path: Path, environment: dict[str, str]) -> None:
    assert len(COMMANDS) == 9
    shutil.copytree(ROOT / "examples" / "wine", tmp_path / "examples" / "wine")
    found = re.search(r'"columns":\[(.*?)\]', TEXT)
    assert found is not None
    columns = found.group(1).replace('"', "").split(", ")
    (tmp_path / "rows.csv").write_text(",".join(columns) + "\n" + ",".join(["1.5"] * len(columns)) + "\n")
    environment = {**environment, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}
    servers: list[subprocess.Popen[bytes]] = []
    answers = []
    try:
        for command in COMMANDS:
            words = shlex.split(command)
            if words[:2] == ["legion", "serve"]:
                for server in servers:
                    server.send_signal(signal.SIGTERM)
                    assert server.wait(40) == 0
                servers = [subprocess.Popen(words, cwd=tmp_path, env=environment)]
                _wait(int(words[words.index("--port") + 1]), servers[0])
                continue
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            answers.append(done.stdout)
    finally:
        for server in servers:
            server.terminate()
            server.wait(40)
    assert any(answer.startswith('{"predictions":[') for answer in answers)
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 2


def test_what_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_make_has_the_commands_that_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"make (\w+)", TEXT):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
