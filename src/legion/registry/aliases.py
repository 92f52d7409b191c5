"""Aliases, moved so that they can be moved back."""

from __future__ import annotations

from typing import Any

from legion.registry import tags
from legion.registry.client import address
from legion.registry.contention import alone, patiently


def move(client: Any, name: str, alias: str, version: str) -> str | None:
    """Point `alias` at `version`, and record where it pointed before.

    Returns the version it pointed to, None where it is new. Where it points there already nothing is recorded. Of
    two that move one alias from different machines in the same moment the last one wins, and the record may name
    the version before both.
    """
    with alone("alias", *address(), name):
        before: str | None = pointed(client, name).get(alias)
        if before == version:
            return before
        # Before the alias: cut short in between, the way back leads to where the alias still points.
        if before is not None:
            patiently(lambda: client.set_registered_model_tag(name, tags.PREVIOUS + alias, before))
        patiently(lambda: client.set_registered_model_alias(name, alias, version))
        return before


def pointed(client: Any, name: str) -> dict[str, str]:
    """Alias → version, of one registered model."""
    found = patiently(lambda: client.get_registered_model(name))
    return {alias: str(version) for alias, version in found.aliases.items()}
