"""Faults are collected without end and told in a bounded number of words."""

from __future__ import annotations

from legion.documents.faults import MOST, Faults, child
from legion.errors import Fault, ManifestError


def test_few_are_told_as_they_are() -> None:
    faults = Faults([Fault("a", "is missing")])
    faults.add("b.c", "must be text")
    assert list(faults) == [("a", "is missing"), ("b.c", "must be text")]
    assert len(faults) == 2
    assert Fault("a", "is missing") in faults
    assert not Faults()


def test_many_are_counted() -> None:
    faults = Faults()
    for number in range(MOST + 7):
        assert faults.full == (number >= MOST)
        faults.add(f"a[{number}]", "must be text")
    found = list(faults)
    assert len(found) == MOST + 1
    assert found[-1] == ("(file)", "and 7 more")
    assert "has 57 faults" in str(ManifestError("x", faults))


def test_long_ones_are_cut() -> None:
    faults = Faults()
    faults.add(child(child("", "a"), "k" * 1_000_000), "m" * 1_000_000)
    path, message = next(iter(faults))
    assert path.startswith("a.kkk")
    assert len(path) < 100
    assert len(message) < 1000
