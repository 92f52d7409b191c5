"""What each field of a manifest may hold. A rule takes the text and says what is wrong, or None.

The values end in file names, image names and generated files, so each rule lists what is allowed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container
from typing import Any

from legion.artifact import member_names
from legion.documents.faults import Faults, child

Rule = Callable[[str], str | None]

_NAME = re.compile(r"[A-Za-z0-9-]{1,63}")
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}(-[A-Za-z0-9.-]{1,100})?", re.ASCII)
_FULL_VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}-[A-Za-z0-9.-]{1,100}", re.ASCII)
_FORMAT = re.compile(r"1(\.\d{1,3}){0,2}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
# Letters and digits of any script, and signs that mean nothing to a shell, a template or a Dockerfile.
_PATH = re.compile(r"[\w.,+@=/ -]+")


def one_of(*values: str) -> Rule:
    """One of a few words."""
    return lambda text: None if text in values else f"must be {' or '.join(values)}, not {text!r}"


def name(text: str) -> str | None:
    """A model's name."""
    if _NAME.fullmatch(text):
        return None
    return f"{text!r} is no name; use letters A-Z a-z, digits and -, at most 63"


def version(text: str) -> str | None:
    """A version as it is read; the suffix may be missing."""
    if _VERSION.fullmatch(text):
        return None
    return f"{text!r} is no version; write it as 1.0.0-SUFFIX, in quotes"


def full_version(text: str) -> str | None:
    """A version as it is written."""
    if _FULL_VERSION.fullmatch(text):
        return None
    return f"{text!r} is no full version; write three numbers and a suffix, such as 1.0.0-1"


def format_version(text: str) -> str | None:
    """`legionVersion`."""
    return None if _FORMAT.fullmatch(text) else f"{text!r} is not read by this Legion, which knows '1.0'"


def label(text: str) -> str | None:
    """A tool's name or version."""
    if _LABEL.fullmatch(text):
        return None
    return f"{text!r} is refused; use letters, digits and . _ + -, at most 128"


def path(text: str) -> str | None:
    """A file or folder of the archive, relative to its root (or to workDir); `.` is the root itself."""
    if text == ".":
        return None
    if (wrong := member_names.fault(text)) is not None:
        return f"{text!r} {wrong}; write a path inside the archive"
    if not _PATH.fullmatch(text) or any(part[0] in "- " for part in text.split("/")):
        return f"{text!r} is refused; use letters, digits and . _ - + @ = , in a path"
    return None


def jar(text: str) -> str | None:
    """A Java model's library."""
    return path(text) or (None if text.endswith(".jar") else f"{text!r} is no .jar file, which a java model needs")


def module(text: str) -> str | None:
    """A Python module's dotted name."""
    if text.endswith(".py"):
        return f"{text!r} is a file; write the module's name, such as {text[:-3].replace('/', '.')!r}"
    if _MODULE.fullmatch(text):
        return None
    return f"{text!r} is no Python module; write its dotted name, such as entrypoint"


def plain(path_: str, value: Any, faults: Faults) -> None:
    """Note each text that no terminal or log may get in a field that only passes through, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            plain(f"{path_} (key)", key, faults)
            plain(child(path_, str(key)), inner, faults)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            plain(f"{path_}[{place}]", inner, faults)
    elif isinstance(value, str):
        if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in value):
            faults.add(path_, "holds a control character or a line break; remove it")
    elif not (value is None or isinstance(value, bool | int | float)):
        faults.add(path_, f"is a {type(value).__name__}, which a manifest cannot hold")


def missing_files(paths: dict[str, str], names: Container[str], folders: Container[str]) -> list[tuple[str, str]]:
    """Faults of the paths (field → path) that are neither a file nor a folder of the archive."""
    return [
        (field, f"names {value!r}, which is not in the archive")
        for field, value in paths.items()
        if value != "." and value not in names and value not in folders
    ]
