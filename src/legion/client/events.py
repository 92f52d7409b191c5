"""Server-sent events as a gateway writes them: `data:` and one JSON value, `data: [DONE]` at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from legion.errors import GatewayError

_DATA = b"data:"
_DONE = b"[DONE]"


def pieces(lines: Iterable[bytes], url: str) -> Iterator[Any]:
    """The values of the events. Raises GatewayError for an event that is an error, and where the end does not come."""
    for line in lines:
        if not line.startswith(_DATA):
            continue
        said = line[len(_DATA) :].strip()
        if said == _DONE:
            return
        try:
            value = msgspec.json.decode(said)
        except msgspec.DecodeError:
            raise GatewayError(f"{url} sent an event that is no JSON; check that a Legion gateway is there") from None
        if isinstance(value, dict) and value.keys() == {"error"}:
            raise GatewayError(f"the answer broke off: {value['error']}")
        yield value
    raise GatewayError(f"the answer of {url} broke off; look at the gateway's log")
