"""An exception as text for a caller: no path of this machine, nothing JSON cannot hold, and not too long."""

from __future__ import annotations

import re

# Two components or more; the last one stays, so that `weights.bin is missing` still says so. A URL is no path.
_PATH = re.compile(r"(?<![\w/.~-])~?(?:/[^\s/'\"<>|:;,()\[\]{}]+)+(/[^\s/'\"<>|:;,()\[\]{}]+)")
_LONGEST = 2000


def shown(error: object) -> str:
    """The error's text, folders replaced by an ellipsis; what is longer than 2,000 characters is cut."""
    text = str(error).encode("utf-8", "replace").decode()
    return _PATH.sub(r"…\1", text[: 2 * _LONGEST])[:_LONGEST]
