"""An example body for the docs page: the first golden request, cut to one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from legion.artifact import golden

# Bytes of JSON. A page with more is of no use to anybody.
MAX_EXAMPLE = 1024 * 1024


def example(path: Path) -> dict[str, Any] | None:
    """The example of the golden file at `path`; None where there is none, or where one row is too large."""
    if not path.is_file():
        return None
    cases = golden.load(path).cases
    if not cases:
        return None
    request = dict(cases[0].request)
    split = request.get("dataframe_split")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        request["dataframe_split"] = {**split, "data": split["data"][:1]}
        request["dataframe_split"].pop("index", None)
    if _is_small(request):
        return request
    # The rows of these belong together for some models, so they are cut only where they must be.
    for rows in ("dataframe_records", "instances"):
        if isinstance(request.get(rows), list):
            request[rows] = request[rows][:1]
    return request if _is_small(request) else None


def _is_small(request: dict[str, Any]) -> bool:
    return len(msgspec.json.encode(request)) <= MAX_EXAMPLE
