"""Credentials out of text that is shown."""

from __future__ import annotations

import re

# user:password@ or token@ in front of a host; the host itself stays, it is what helps the reader. A password may
# hold a / that nobody encoded: after user: everything up to the last @ goes.
_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?:[^/:\s\"'`]*:[^\s\"'`]*|[^/?#\s\"'`]*)@")
_PARAMETER = re.compile(
    r"(?P<name>[?&](?:[\w\-]*(?:token|password|passwd|secret|key|signature|sig))=)[^&\s\"'`]+", re.I
)
# A conda channel's token is a part of its path: https://host/t/TOKEN/channel.
_TOKEN = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.\-]*://[^\s\"'`]*?/t/)[^/\s\"'`]+")


def redacted(text: str) -> str:
    """The text with the credentials of every URL in it replaced by ***."""
    text = _CREDENTIALS.sub(r"\g<scheme>***@", text)
    return _PARAMETER.sub(r"\g<name>***", _TOKEN.sub(r"\g<before>***", text))
