"""The fields of a mapping, read one by one; what is wrong is collected and never raised."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from legion.documents.faults import Faults, child, cut

T = TypeVar("T")
D = TypeVar("D")
Read = Callable[[Any], T]


class Fields:
    """One mapping of a document, at `path` (empty for the root).

    A field is read by a function that returns its value or raises ValueError with what is wrong. Null is the same as
    a field that is not there.
    """

    def __init__(self, tree: dict[str, Any], path: str, faults: Faults) -> None:
        self.faults = faults
        self._path = path
        self._rest = dict(tree)
        self._asked: list[str] = []
        # With the whole mapping at fault, each missing field would say it once more.
        self._silent = False

    def fault(self, field: str, message: str) -> None:
        """Note what is wrong with a field."""
        self.faults.add(child(self._path, field), message)

    def optional(self, field: str, read: Read[T], default: D) -> T | D:
        """The field's value; the default where it is not there or cannot be read."""
        self._asked.append(field)
        value = self._rest.pop(field, None)
        if value is None:
            return default
        try:
            return read(value)
        except ValueError as error:
            self.fault(field, str(error))
            return default

    def required(self, field: str, read: Read[T], default: D) -> T | D:
        """The same; a field that is not there is a fault."""
        if self._rest.get(field) is None and not self._silent:
            self.fault(field, "is empty" if field in self._rest else "is missing")
        return self.optional(field, read, default)

    def section(self, field: str) -> Fields:
        """The fields of a mapping inside this one, which may be left out."""
        return Fields(self.optional(field, mapping, {}), child(self._path, field), self.faults)

    def required_section(self, field: str) -> Fields:
        """The same; a section that is not there is a fault, and its fields are no more of them."""
        found = self.required(field, mapping, None)
        section = Fields(found or {}, child(self._path, field), self.faults)
        section._silent = found is None
        return section

    def rest(self) -> dict[str, Any]:
        """The fields that nobody asked for, as they are."""
        return self._rest

    def refuse_rest(self) -> None:
        """Make each field that nobody asked for a fault."""
        for field in self._rest:
            self.fault(field, "" if self.faults.full else _unknown(field, self._asked))


def mapping(value: Any) -> dict[str, Any]:
    """A mapping as it is."""
    if not isinstance(value, dict):
        raise ValueError("must be a mapping of fields")
    return value


def text(value: Any) -> str:
    """Text as it is."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    return str(value)


def _unknown(field: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(cut(field.lower(), 100), by_lower, 1)
    if near:
        return f"is not known here; did you mean {by_lower[near[0]]}?"
    return f"is not known here; known are {', '.join(by_lower.values())}"
