"""YAML that PyYAML wrote: the same values as its safe loader gives, bounded."""

from __future__ import annotations

import datetime
import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from legion.documents.typed_yaml import read

SHARED = {"a": [1, 2], "b": {}}


class Everything:
    def __contains__(self, name: object) -> bool:
        return True


ALL = Everything()


def value(text: str) -> Any:
    found, faults = read(text.encode(), ALL)
    assert not faults, list(faults)
    return found


def faults(text: str) -> dict[str, str]:
    return dict(read(text.encode(), ALL)[1])


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.floats(allow_nan=False)
KEYS = st.text("abcdefno_", min_size=1, max_size=9)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=10)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, TREES))
def test_what_pyyaml_writes_is_read_as_pyyaml_reads_it(tree: dict[str, Any]) -> None:
    text = yaml.safe_dump(tree)
    assert value(text) == yaml.safe_load(text)


def test_what_a_tree_holds_twice_is_read_twice() -> None:
    text = yaml.safe_dump({"x": SHARED, "y": [SHARED, SHARED]})
    assert "*id001" in text
    assert value(text) == {"x": SHARED, "y": [SHARED, SHARED]}


def test_dates_bytes_and_sets_stay_readable() -> None:
    text = yaml.safe_dump(
        {"day": datetime.date(2020, 1, 2), "at": datetime.datetime(2020, 1, 2, 3, 4, 5), "raw": b"abc", "some": {"b"}}
    )
    assert value(text) == {"day": "2020-01-02", "at": "2020-01-02 03:04:05", "raw": "YWJj\n", "some": {"b": None}}


def test_floats_of_every_kind() -> None:
    found = value("{a: 1.0e-05, b: .inf, c: .nan, d: 3.10}")
    assert (found["a"], found["b"], found["d"]) == (1e-05, math.inf, 3.1)
    assert math.isnan(found["c"])


def test_fields_that_are_not_wanted_are_not_judged() -> None:
    found, wrong = read(b"a: 1\nb: {null: 1, 1: x, '1': y, big: 99999999999999999999}\n? [c]\n: 2\n", {"a"})
    assert found == {"a": 1}
    assert not wrong


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + number)}: &{chr(98 + number)} [*{chr(97 + number)}, *{chr(97 + number)}]\n" for number in range(20)
)


@pytest.mark.parametrize(
    ("text", "path", "what"),
    [
        (BOMB, "line 13", "more than 20000 values"),
        ("a: &x [*x]", "line 1", "whole"),
        ("a: &x {b: {c: *x}}", "line 1", "whole"),
        ("a: *x", "line 1", "whole"),
        ("a: {b: [18446744073709551616]}", "a.b[0]", "64 bits"),
        ("a: -9223372036854775809", "a", "64 bits"),
        ("a: " + "9" * 100_000, "a", "text in quotes"),
        ("a: !!int x", "a", "text in quotes"),
        ("a: !!bool x", "a", "text in quotes"),
        ("a: 1\na: 2", "a", "twice"),
        ("a: {<<: {b: 1}}", "line 1", "plain text"),
        ("a: {? [b] : 1}", "line 1", "plain text"),
        ("a: !!python/object/apply:os.system ['true']", "line 1", "tag"),
        ("a: !mine x", "line 1", "tag"),
        ("[" * 100_000, "line 1", "levels"),
        ('a: "\\uD800"', "line 1", "escape"),
        ("a: 1\n---\nb: 2", "line 2", "document"),
        ("a: [" + "1, " * 50_000 + "]", "line 1", "more than 20000 values"),
    ],
)
def test_what_can_grow_or_run_is_a_fault(text: str, path: str, what: str) -> None:
    began = time.process_time()
    found = faults(text)
    assert what in found[path]
    assert time.process_time() - began < 10


def test_every_fault_is_told_at_once() -> None:
    found = faults("a: 99999999999999999999\nb: *x\nc: !mine {d: 1, d: 2}\n")
    assert list(found) == ["line 2", "line 3", "a", "c.d"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: \xc3\x28", b"a: \x00", b"\x80"])
def test_only_text(content: bytes) -> None:
    found, wrong = read(content, ALL)
    assert found is None
    assert len(wrong) == 1
