"""What a gateway answers instead of the thing asked for, as Legion's errors."""

from __future__ import annotations

from typing import Any

import msgspec

from legion.errors import GatewayError, GatewayRefused, InputError, LegionError

_UNFIT = (400, 415, 422)
_LONGEST = 2000


def failure(status: int, body: bytes, url: str, *, rows: bool = False) -> LegionError:
    """The error that an answer other than 2xx is; `rows` where the request was one for predictions."""
    reason = _reason(body)
    if reason is None:
        return GatewayError(f"{url} answered {status} without a reason; check that a Legion gateway is there", status)
    if rows and status in _UNFIT:
        return InputError(reason, kind="media-type" if status == 415 else "signature")
    if status < 400 or status >= 500 or status in (408, 429):
        return GatewayError(f"the gateway at {url} answered {status}: {reason}", status)
    return GatewayRefused(reason, status)


def _reason(body: bytes) -> str | None:
    """The sentence in a body of the admin API, of MLflow's protocol or of Legion's REST; None where there is none."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    text = next((found[key] for key in ("error", "message") if isinstance(found.get(key), str)), None)
    if text is None:
        return None
    # It goes to a terminal, and the other side may be anybody.
    return "".join(char for char in text if char.isprintable() or char == "\n").strip()[:_LONGEST] or None
