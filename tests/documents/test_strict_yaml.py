"""The traps of YAML: what has two meanings, can grow or can run is a fault, never a value."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any

import pytest

from legion.artifact.manifest import parse
from legion.documents.faults import Faults
from legion.documents.strict_yaml import read
from legion.errors import ManifestError

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + number)}: &{chr(98 + number)} [*{chr(97 + number)}, *{chr(97 + number)}]\n" for number in range(20)
)
TRAPS = {
    "duplicate keys": ("a: 1\na: 2", "a"),
    "duplicate keys inside": ("a: {b: [{c: 1, c: 2}]}", "a.b[0].c"),
    "alias": ("a: &x 1\nb: *x", "line 2"),
    "loop": ("a: &x [*x]", "line 1"),
    "anchor": ("a: &x 1", "line 1"),
    "bomb": (BOMB, "line 1"),
    "merge key": ("a: {<<: {b: 1}}", "line 1"),
    "tag": ("a: !!float 1", "line 1"),
    "object": ("a: !!python/object/apply:os.system ['true']", "line 1"),
    "two documents": ("a: 1\n---\nb: 2", "line 2"),
    "key that is a list": ("? [a]\n: 1", "line 1"),
    "key that is null": ("~: 1", "line 1"),
    "key with a control character": ('"a\\nb": 1', "line 1"),
    "too deep": ("[" * 50_000, "line 1"),
    "too deep in blocks": ("\n".join(" " * depth + "a:" for depth in range(300)), "line 16"),
    "never closed": ("{a: b", "(end)"),
    "control character": ("a: \x07", "(file)"),
}


@pytest.mark.parametrize(("text", "place"), TRAPS.values(), ids=TRAPS)
def test_traps(text: Any, place: Any) -> None:
    start = time.monotonic()
    _, faults = read(text.encode())
    assert place in [fault.path for fault in faults]
    assert time.monotonic() - start < 10
    with pytest.raises(ManifestError):
        parse(text.encode(), "x")


@pytest.mark.parametrize("trap", ["alias", "loop", "bomb", "tag", "two documents", "too deep", "control character"])
def test_traps_of_the_grammar_without_libyaml(trap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may have been built without it."""
    monkeypatch.setitem(sys.modules, "yaml.cyaml", None)
    found = importlib.util.find_spec("legion.documents.composer")
    assert found is not None
    assert found.loader is not None
    pure = importlib.util.module_from_spec(found)
    found.loader.exec_module(pure)
    text, place = TRAPS[trap]
    faults = Faults()
    pure.compose(text.encode(), pure.Rules(), faults)
    assert place in [fault.path for fault in faults]


@pytest.mark.parametrize("text", [b"\xff\xfea", b"\xc3\x28", "a: ü".encode("utf-16")])
def test_only_utf8(text: bytes) -> None:
    assert read(text)[0] is None


def test_scalars_are_text() -> None:
    tree, faults = read(b"{a: 1.0, b: no, c: 1:30, d: 0o17, e: 2001-01-01, f: .inf, g: 'x', h: 1_000}")
    assert not faults
    assert tree == {
        "a": "1.0", "b": "no", "c": "1:30", "d": "0o17", "e": "2001-01-01", "f": ".inf", "g": "x", "h": "1_000",
    }  # fmt: skip
