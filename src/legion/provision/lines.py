"""What the provisioner says, as lines that the gateway can always read."""

from __future__ import annotations

import msgspec

from legion.provisioning_messages import MAX_LINE, Delivery, Failure, Notice, Progress, Reach

# Characters of a reason or of progress.
_TEXT = 16 * 1024


def line(notice: Notice) -> bytes:
    """One line with its line break. A delivery that is too large, or holds what JSON cannot, becomes its Failure."""
    if not isinstance(notice, Delivery):
        return _encoded(_short(notice))
    try:
        encoded = _encoded(notice)
    # Whatever a model's own file may hold: numbers beyond 64 bits, endless nesting, halves of characters.
    except Exception as error:
        return _encoded(_short(_failed(notice, f"holds what cannot be handed over ({error})")))
    if len(encoded) > MAX_LINE:
        size = f"{len(encoded) / 2**20:.0f} MiB, and {MAX_LINE >> 20} MiB is the most"
        return _encoded(_failed(notice, f"has a signature and flavors that are too large ({size})"))
    return encoded


def _encoded(notice: Notice) -> bytes:
    return msgspec.json.encode(notice) + b"\n"


def _failed(delivery: Delivery, what: str) -> Failure:
    plan = delivery.plan
    reason = f"{plan.name} {plan.version} {what}; correct its MLmodel file and pack it again"
    return Failure(delivery.id, reason, "refused", delivery.key, delivery.digest, delivery.registered)


def _short(notice: Notice) -> Notice:
    if isinstance(notice, Failure):
        return msgspec.structs.replace(notice, reason=_readable(notice.reason))
    if isinstance(notice, Progress):
        return msgspec.structs.replace(notice, line=_readable(notice.line))
    if isinstance(notice, Reach) and notice.reason is not None:
        return msgspec.structs.replace(notice, reason=_readable(notice.reason))
    return notice


def _readable(text: str) -> str:
    """At most so many characters, each of which UTF-8 has; a file's name may hold others."""
    text = text if len(text) <= _TEXT else f"{text[:_TEXT]} … ({len(text)} characters in all)"
    return text.encode("utf-8", "backslashreplace").decode()
