"""One request to a scoring server."""

from __future__ import annotations

from typing import NamedTuple

JSON = "application/json"
CSV = "text/csv"


class Case(NamedTuple):
    """`name` is `model/form/what`. No content type is sent where that is None."""

    name: str
    body: bytes
    content_type: str | None = JSON

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.name.split("/", 1)[0]
