"""What is wrong with a document: all of it at once, and never more than somebody can read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from legion.errors import Fault

# So many are told in full; a file with more has one cause for most of them.
MOST = 50
_MESSAGE = 500
_KEY = 60


class Faults(Collection[Fault]):
    """Collects faults. Its length counts all of them; iterating gives the first MOST and how many more there are."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._first: list[Fault] = []
        self._count = 0
        for fault in faults:
            self.add(*fault)

    def add(self, path: str, message: str) -> None:
        """Note one: the field's path, and what is wrong with it."""
        self._count += 1
        if self._count <= MOST:
            self._first.append(Fault(cut(path, _MESSAGE), cut(message, _MESSAGE)))

    @property
    def full(self) -> bool:
        """Whether a further fault is only counted, so that its message need not be made."""
        return self._count >= MOST

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Fault]:
        yield from self._first
        if self._count > MOST:
            yield Fault("(file)", f"and {self._count - MOST} more")

    def __contains__(self, fault: object) -> bool:
        return fault in self._first


def child(path: str, key: str) -> str:
    """The path of a field, of whose name no more is told than a reader needs."""
    key = cut(key, _KEY)
    return f"{path}.{key}" if path else key


def cut(text: str, length: int) -> str:
    """The text, or its beginning where it is longer."""
    return text if len(text) <= length else text[:length] + "…"
