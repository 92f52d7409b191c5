"""Fields are read one by one, and every fault is noted with its path."""

from __future__ import annotations

from typing import Any

from legion.documents.faults import Faults
from legion.documents.fields import Fields, mapping, text


def number(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("must be a whole number")
    return value


def fields(**tree: Any) -> Fields:
    return Fields(tree, "", Faults())


def told(root: Fields) -> dict[str, str]:
    return dict(root.faults)


def test_what_is_there_is_read() -> None:
    root = fields(a=1, b={"c": "x"}, d=2)
    assert root.required("a", number, 0) == 1
    assert root.section("b").required("c", text, "") == "x"
    assert root.rest() == {"d": 2}
    assert not root.faults


def test_what_is_not_there_has_its_default() -> None:
    root = fields(a=None)
    assert root.optional("a", number, 7) == 7
    assert root.optional("b", number, None) is None
    assert root.section("c").optional("d", number, 5) == 5
    assert not root.faults


def test_what_must_be_there_is_missed() -> None:
    root = fields(a=None, section={"x": None})
    assert (root.required("a", number, 7), root.required("b", number, 8)) == (7, 8)
    root.required_section("section").required("x", number, 0)
    assert told(root) == {"a": "is empty", "b": "is missing", "section.x": "is empty"}


def test_a_section_that_is_at_fault_is_said_once() -> None:
    root = fields(a=[1])
    section = root.required_section("a")
    section.required("b", number, 0)
    root.required_section("c").required("d", number, 0)
    assert told(root) == {"a": "must be a mapping of fields", "c": "is missing"}


def test_what_cannot_be_read_is_a_fault_and_its_default() -> None:
    root = fields(a="x", b=1)
    assert root.optional("a", number, 7) == 7
    assert root.required("b", text, "none") == "none"
    assert root.optional("c", mapping, {}) == {}
    assert told(root) == {"a": "must be a whole number", "b": "must be text"}


def test_what_nobody_asked_for_is_refused() -> None:
    root = fields(weihgt=1, other=2)
    root.optional("weight", number, 0)
    root.optional("name", text, "")
    root.refuse_rest()
    assert told(root) == {
        "weihgt": "is not known here; did you mean weight?",
        "other": "is not known here; known are weight, name",
    }
