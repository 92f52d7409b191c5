"""Where the gateway is, and whom its token may be given to."""

from __future__ import annotations

from pathlib import Path

import pytest

from legion.settings import admin_token, gateway_url


def test_the_gateway_is_the_chosen_one_then_the_environments_then_this_machines() -> None:
    assert gateway_url({"LEGION_GATEWAY": "http://a:1"}, "http://b:2") == "http://b:2"
    assert gateway_url({"LEGION_GATEWAY": "http://a:1"}) == "http://a:1"
    assert gateway_url({}) == "http://127.0.0.1:5001"


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("http://127.0.0.1:5001", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:5001", True),
        ("http://localhost:5001", True),
        ("https://gateway.example:5001", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0", False),
        ("http://127.0.0.1@gateway.example", False),
    ],
)
def test_the_token_of_this_machine_is_for_this_machine(tmp_path: Path, url: str, given: bool) -> None:
    (tmp_path / "admin-token").write_text("s3cret\n")
    assert admin_token({"LEGION_STATE": str(tmp_path)}, url) == ("s3cret" if given else None)
    assert admin_token({"LEGION_STATE": str(tmp_path), "LEGION_ADMIN_TOKEN": "mine"}, url) == "mine"


def test_the_state_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert admin_token({}, "http://localhost") is None
    for folder, environ in (
        (tmp_path / ".local" / "state" / "legion", {}),
        (tmp_path / "xdg" / "legion", {"XDG_STATE_HOME": str(tmp_path / "xdg")}),
    ):
        folder.mkdir(parents=True)
        (folder / "admin-token").write_text(f"of {folder}")
        assert admin_token(environ, "http://localhost") == f"of {folder}"
