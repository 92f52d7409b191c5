"""The command line's name for resolving a MODEL argument."""

from legion.provision.resolve import Resolved, resolve

__all__ = ["Resolved", "resolve"]
