"""The values of the Python API as JSON on standard output."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import click
import msgspec


def print_json(value: Any) -> None:
    """Indented, for people and programs."""
    click.echo(msgspec.json.format(_encoded(value)))


def print_json_line(value: Any) -> None:
    """One line, for programs."""
    click.echo(_encoded(value))


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=_text)


def _text(value: Any) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON")
