"""Sizes as text, as the command line shows them."""

from __future__ import annotations

from legion.disk.sizes import shown as shown

__all__ = ["shown"]
