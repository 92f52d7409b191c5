"""A DEPLOYMENT.yaml on this machine, read for a gateway that may run in another folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from legion.documents import strict_yaml
from legion.errors import ModelReferenceError, RefusedError, UsageError
from legion.reference import parse as parse_reference


def read_declaration(file: Path) -> dict[str, Any]:
    """A DEPLOYMENT.yaml in the gateway's format; relative model paths are resolved against the file's folder.

    The fields' values are checked by the gateway. Raises UsageError where the file cannot be read, RefusedError
    where it is not valid YAML.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); give a DEPLOYMENT.yaml") from None
    tree, faults = strict_yaml.read(text)
    if faults:
        raise RefusedError(f"{file} cannot be deployed: " + "; ".join(f"{path}: {text}" for path, text in faults))
    declaration = strict_yaml.typed(tree)
    if not isinstance(declaration, dict):
        raise RefusedError(f"{file} cannot be deployed: it has no fields; write name and model, or name and variants")
    variants = declaration.get("variants")
    for place in (declaration, *(variants if isinstance(variants, list) else ())):
        if isinstance(place, dict) and isinstance(place.get("model"), str):
            place["model"] = absolute_model(place["model"], file.absolute().parent)
    return declaration


def absolute_model(model: str, folder: Path) -> str:
    """A model's path made absolute, relative to `folder`; any other reference, and what is none, as it is."""
    try:
        reference = parse_reference(model)
    except ModelReferenceError:
        # The gateway reports it, together with all other problems.
        return model
    return str(folder / reference.path) if reference.scheme == "path" else model
