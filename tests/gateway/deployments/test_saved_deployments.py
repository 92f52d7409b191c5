"""What a gateway keeps of its deployments."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from legion.gateway.deployments.declaration import Declaration, VariantDeclaration
from legion.gateway.deployments.saved_deployments import SavedDeployment, SavedDeployments
from legion.gateway.deployments.variant import Kept
from legion.provisioning_messages import Delivery, Registered
from legion.wire import Plan


def entry(name: str, version: str = "1") -> SavedDeployment:
    delivery = Delivery(
        3, f"wine/{version}", Plan("wine", "1.0.0-a", "/x", "gppi"), "/py", None, "sha256:0", Registered("wine", "1")
    )
    declaration = Declaration(name, (VariantDeclaration("champion", "models:/wine@champion"),), follow=2.0)
    return SavedDeployment(declaration, {"champion": Kept(delivery, delivery, "wine/9")})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    saved = SavedDeployments(tmp_path / "deployments")
    saved.write(entry("b"))
    saved.write(entry("a"))
    saved.write(entry("a", "2"))
    assert SavedDeployments(tmp_path / "deployments").read() == [entry("a", "2"), entry("b")]
    saved.remove("a")
    saved.remove("never there")
    assert saved.read() == [entry("b")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b"[]",
        b'{"declaration": {"name": "b", "variants": []}}',
        msgspec.json.encode(entry("another")),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_damaged_entry_is_said_and_harms_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    saved = SavedDeployments(tmp_path)
    saved.write(entry("a"))
    (tmp_path / "b.json").write_bytes(content)
    assert saved.read() == [entry("a")]
    assert "b.json" in caplog.text


def test_a_disk_that_is_full_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = SavedDeployments(tmp_path)
    saved.write(entry("a"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        saved.write(entry("a", "2"))
    monkeypatch.undo()
    assert saved.read() == [entry("a")]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
