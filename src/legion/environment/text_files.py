"""Environment files as they are read: small, UTF-8, and YAML without its traps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from legion.documents import strict_yaml
from legion.errors import EnvironmentRefused

MAX_BYTES = 1 << 20


def read_text(path: Path, name: str) -> str:
    """The text of a small file. `name` is how messages call it. Raises EnvironmentRefused."""
    try:
        return _content(path, name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EnvironmentRefused(f"{name} is not UTF-8 text; save it as UTF-8") from error


def read_mapping(path: Path, name: str) -> dict[str, Any]:
    """A YAML file whose root is a mapping, every scalar the text that was written. Raises EnvironmentRefused."""
    document, faults = strict_yaml.read(_content(path, name))
    if faults:
        first = next(iter(faults))
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise EnvironmentRefused(f"{name}, {first.path}: {first.message}{more}; write it as plain YAML")
    if document in (None, ""):
        return {}
    if not isinstance(document, dict):
        raise EnvironmentRefused(f"{name} is no mapping of keys to values; write it as conda.yaml or python_env.yaml")
    return document


def _content(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise EnvironmentRefused(f"{name} cannot be read ({error.strerror}); put it back and try again") from error
    if len(content) > MAX_BYTES:
        raise EnvironmentRefused(f"{name} is larger than 1 MiB; an environment file lists packages and nothing else")
    return content
