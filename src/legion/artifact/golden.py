"""`legion.golden.json`: example requests, and the reference path's answers in the model's own environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from legion.errors import VerificationError

FILE_NAME = "legion.golden.json"
FORMAT = 1


class Case(msgspec.Struct, frozen=True):
    """`request` is a body of MLflow's scoring protocol, `response` the body of the answer."""

    request: dict[str, Any]
    response: Any


class Golden(msgspec.Struct, frozen=True):
    """`deterministic` is false where two calls disagreed: then only the number of answers is compared."""

    cases: tuple[Case, ...] = ()
    deterministic: bool = True
    format: int = FORMAT


class _File(msgspec.Struct):
    """The file's own order of keys."""

    format: int
    deterministic: bool
    cases: tuple[Case, ...]


def parse(data: bytes, source: str = FILE_NAME) -> Golden:
    """Read the file's bytes. Raises VerificationError where they are no golden answers known here."""
    try:
        found = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise VerificationError(f"{source} cannot be read ({error}); pack the model again") from None
    if found.format != FORMAT:
        raise VerificationError(
            f"{source} has format {found.format}, and this Legion reads {FORMAT}; update Legion or pack again"
        )
    return Golden(found.cases, found.deterministic, found.format)


def load(path: Path) -> Golden:
    """Read a file. Raises VerificationError where it is not there or not readable."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VerificationError(f"{path} cannot be read ({error.strerror}); pack the model again") from None
    return parse(data, str(path))


def dump(golden: Golden) -> bytes:
    """The file's bytes, the same for the same values. NaN and infinities become null, as JSON has none."""
    return msgspec.json.encode(_File(golden.format, golden.deterministic, golden.cases)) + b"\n"
