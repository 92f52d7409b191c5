from __future__ import annotations

import resource
import socket
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from legion.environment import doctor_checks


class Tracking(BaseHTTPRequestHandler):
    """Answers /mlflow/health with 200, /closed/health with 401, the rest with 500."""

    def do_GET(self) -> None:
        self.send_response({"/mlflow/health": 200, "/closed/health": 401}.get(self.path, 500))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The address (host:port) of a server that stands in for a tracking server."""
    with HTTPServer(("127.0.0.1", 0), Tracking) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


class TestTracking:
    def test_not_set(self) -> None:
        assert doctor_checks.tracking(None).state == doctor_checks.tracking("").state == "ok"

    def test_a_server_that_answers_and_its_password(self, server: str) -> None:
        check = doctor_checks.tracking(f"http://user:hunter2@{server}/mlflow/")
        assert (check.state, check.detail) == ("ok", f"http://***@{server}/mlflow/ answers")

    def test_a_server_that_asks_for_credentials_is_there(self, server: str) -> None:
        check = doctor_checks.tracking(f"http://{server}/closed")
        assert check.state == "ok"
        assert "asks for credentials" in check.detail

    def test_a_server_that_is_something_else(self, server: str) -> None:
        check = doctor_checks.tracking(f"http://{server}")
        assert check.state == "warn"
        assert "answers 500" in check.detail

    def test_a_port_that_nobody_listens_on(self) -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            check = doctor_checks.tracking(f"http://user:hunter2@127.0.0.1:{held.getsockname()[1]}")
        assert check.state == "warn"
        assert "does not answer" in check.detail
        assert "hunter2" not in check.detail
        assert check.remedy

    def test_something_that_does_not_speak_http(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"SSH-2.0-x\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            check = doctor_checks.tracking(f"http://127.0.0.1:{listener.getsockname()[1]}")
            thread.join()
        assert check.state == "warn"

    @pytest.mark.parametrize("uri", ["http://u:hunter2@[bad", "http://u:hunter2@a b:x/y", "http://", "https://:x"])
    def test_an_address_that_is_none(self, uri: str) -> None:
        check = doctor_checks.tracking(uri)
        assert check.state == "warn"
        assert "hunter2" not in check.detail

    @pytest.mark.parametrize(
        "uri", ["sqlite:///mlflow.db", "./mlruns", "postgresql://u:hunter2@db/mlflow", "databricks"]
    )
    def test_what_is_no_server_is_not_asked(self, uri: str) -> None:
        check = doctor_checks.tracking(uri)
        assert check.state == "ok"
        assert "hunter2" not in check.detail


class TestCache:
    def test_it_is_measured_and_links_count_once(self, tmp_path: Path) -> None:
        (tmp_path / "one").write_bytes(b"x" * 300_000)
        (tmp_path / "two").hardlink_to(tmp_path / "one")
        check = doctor_checks.cache(tmp_path)
        assert check.state == "ok"
        assert check.detail == f"{tmp_path}, 300 kB"

    def test_one_that_is_not_there_yet_is_not_made(self, tmp_path: Path) -> None:
        assert doctor_checks.cache(tmp_path / "a" / "b").state == "ok"
        assert list(tmp_path.iterdir()) == []

    def test_one_that_cannot_be_written_is_necessary(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        check = doctor_checks.cache(tmp_path / "file" / "cache")
        assert (check.state, check.necessary) == ("missing", True)
        assert "LEGION_CACHE" in check.remedy


class TestProgram:
    def program(self, *commands: str) -> doctor_checks.Check:
        return doctor_checks.program("thing", commands, ("thing-deb", "thing-brew"), "a purpose")

    def executable(self, path: Path, code: int) -> None:
        path.write_text(f"#!/bin/sh\nexit {code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def test_the_first_that_runs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        self.executable(tmp_path / "broken", 1)
        self.executable(tmp_path / "works", 0)
        check = self.program("absent", "broken", "works")
        assert (check.state, check.detail) == ("ok", str(tmp_path / "works"))

    def test_none_that_runs_names_the_line_that_installs_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        self.executable(tmp_path / "broken", 1)
        check = self.program("absent", "broken")
        assert (check.state, check.enables) == ("missing", "a purpose")
        assert check.remedy in ("apt-get install thing-deb", "brew install thing-brew")


def test_few_file_descriptors_are_a_warning() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert (doctor_checks.descriptors().state, doctor_checks.descriptors().detail) == ("warn", "256")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_index_that_only_pip_knows_is_a_warning() -> None:
    assert doctor_checks.package_index("https://u:hunter2@i.invalid", None).state == "warn"
    assert doctor_checks.package_index(None, None).state == "ok"
    check = doctor_checks.package_index("https://i.invalid", "https://u:hunter2@i.invalid/simple")
    assert (check.state, check.detail) == ("ok", "https://***@i.invalid/simple")


def test_what_is_here() -> None:
    for check in (doctor_checks.python(), doctor_checks.uv()):
        assert (check.state, check.necessary) == ("ok", True)
    assert doctor_checks.package("msgspec", "x", "y").state == "ok"
    absent = doctor_checks.package("no-such-package", "arrow", "y")
    assert (absent.state, absent.remedy) == ("missing", "pip install 'legion-ml[arrow]'")
