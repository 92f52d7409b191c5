"""What a gateway tells the registry of a version: that it did not take it, and why."""

from __future__ import annotations

import logging
import socket
from datetime import UTC, datetime

from legion.errors import LegionError
from legion.order import Mark
from legion.registry import tags
from legion.registry.client import answering, connect

_LONGEST = 2000
_logger = logging.getLogger("legion.provision")


def mark(wanted: Mark) -> None:
    """Write or remove the tag; a registry that cannot be written to is a line in the log, no more."""
    name, version = wanted.registered.name, wanted.registered.version
    try:
        client = connect()
        with answering(f"the registry was not told of {name} version {version}"):
            if wanted.reason is not None:
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                text = f"{wanted.reason[:_LONGEST]} ({socket.gethostname()}, {now})"
                client.set_model_version_tag(name, version, tags.REFUSED, text)
            elif tags.REFUSED in client.get_model_version(name, version).tags:
                client.delete_model_version_tag(name, version, tags.REFUSED)
    except LegionError as error:
        _logger.warning("%s", error)
