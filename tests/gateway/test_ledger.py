"""What a gateway keeps of its deployments."""

from __future__ import annotations

import os

import pytest

from legion.gateway.declaration import Declaration, VariantDeclaration
from legion.gateway.ledger import Entry, Ledger
from legion.gateway.variant import Kept
from legion.order import Delivery, Registered
from legion.wire import Plan


def entry(name: str, version: str = "1") -> Entry:
    delivery = Delivery(
        3, f"wine/{version}", Plan("wine", "1.0.0-a", "/x", "gppi"), "/py", None, "sha256:0", Registered("wine", "1")
    )
    declaration = Declaration(name, (VariantDeclaration("champion", "models:/wine@champion"),), follow=2.0)
    return Entry(declaration, {"champion": Kept(delivery, delivery, "wine/9")})


def test_what_is_written_is_read(tmp_path):
    ledger = Ledger(tmp_path / "deployments")
    ledger.write(entry("b"))
    ledger.write(entry("a"))
    ledger.write(entry("a", "2"))
    assert Ledger(tmp_path / "deployments").read() == [entry("a", "2"), entry("b")]
    ledger.remove("a")
    ledger.remove("never there")
    assert ledger.read() == [entry("b")]


def test_a_damaged_entry_is_said_and_harms_no_other(tmp_path, caplog):
    ledger = Ledger(tmp_path)
    ledger.write(entry("a"))
    (tmp_path / "b.json").write_text("{")
    assert ledger.read() == [entry("a")]
    assert "b.json" in caplog.text


def test_a_disk_that_is_full_keeps_what_was_there(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    ledger.write(entry("a"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        ledger.write(entry("a", "2"))
    monkeypatch.undo()
    assert ledger.read() == [entry("a")]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
