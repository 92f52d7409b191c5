"""MLflow's terms for a deployment (a model URI and `-C name=value`) → Legion's declaration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from legion.api.declaration_file import absolute_model
from legion.errors import UsageError

_FIELDS = ("follow", "sticky")
_SECTIONS = ("limits", "workers")
_DEFAULT_VARIANT = "champion"


class Wish(msgspec.Struct, frozen=True):
    """A config, read. `fields` are those of the declaration, sections as mappings."""

    variant: str | None = None
    weight: float | None = None
    fields: dict[str, Any] = {}
    wait: bool = True
    wait_timeout: float = 600.0


def wish(config: Mapping[str, Any] | None) -> Wish:
    """Read a config; values may be text, as the command line gives them. Raises UsageError for unknown names."""
    taken: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for name, value in (config or {}).items():
        section, _, field = name.partition(".")
        if name in ("variant", "weight", "wait", "wait_timeout"):
            taken[name] = value if name == "variant" else _typed(value)
        elif name in _FIELDS:
            fields[name] = _typed(value)
        elif section in _SECTIONS and field:
            fields.setdefault(section, {})[field] = _typed(value)
        elif name in _SECTIONS and isinstance(value, Mapping):
            fields.setdefault(name, {}).update(value)
        else:
            raise UsageError(f"unknown config {name!r}; see mlflow deployments help -t legion")
    try:
        return msgspec.convert({**taken, "fields": fields}, Wish)
    except msgspec.ValidationError as error:
        raise UsageError(f"the config cannot be read: {error}; see mlflow deployments help -t legion") from None


def created(name: str, model_uri: str, wished: Wish) -> dict[str, Any]:
    """The declaration of a new deployment of one variant."""
    variant: dict[str, Any] = {
        "name": wished.variant or _DEFAULT_VARIANT,
        "model": absolute_model(model_uri, Path.cwd()),
    }
    if wished.weight is not None:
        variant["weight"] = wished.weight
    return _with_fields({"name": name, "variants": [variant]}, wished)


def updated(declaration: Mapping[str, Any], model_uri: str | None, wished: Wish) -> dict[str, Any]:
    """The declaration with another model, weight or fields. Raises UsageError where the variant is ambiguous."""
    variants = [dict(variant) for variant in declaration["variants"]]
    changed: dict[str, Any] = {**declaration, "variants": variants}
    if model_uri is not None or wished.weight is not None or wished.variant is not None:
        place = _place(variants, model_uri, wished, str(declaration["name"]))
        if model_uri is not None:
            variants[place]["model"] = absolute_model(model_uri, Path.cwd())
            # It was set for a fixed version; an alias is followed unless the config says otherwise.
            if changed.get("follow") is False:
                del changed["follow"]
        if wished.weight is not None:
            _share(variants, place, wished.weight)
    return _with_fields(changed, wished)


def _place(variants: list[dict[str, Any]], model_uri: str | None, wished: Wish, name: str) -> int:
    names = [variant["name"] for variant in variants]
    if wished.variant is None:
        if len(names) > 1:
            raise UsageError(f"{name} has the variants {', '.join(names)}; choose one with -C variant=NAME")
        return 0
    if wished.variant in names:
        return names.index(wished.variant)
    if model_uri is None:
        raise UsageError(f"{name} has no variant {wished.variant!r}; give its model with -m URI to add it")
    variants.append({"name": wished.variant, "weight": 0.0})
    return len(names)


def _share(variants: list[dict[str, Any]], place: int, weight: float) -> None:
    """Give one variant this weight; the others share the rest in their previous proportions."""
    others = [variant for number, variant in enumerate(variants) if number != place]
    before = sum(variant["weight"] for variant in others)
    for variant in others:
        part = variant["weight"] / before if before else 1 / len(others)
        variant["weight"] = (100 - weight) * part
    variants[place]["weight"] = weight


def _with_fields(declaration: dict[str, Any], wished: Wish) -> dict[str, Any]:
    for name, value in wished.fields.items():
        declaration[name] = {**declaration.get(name, {}), **value} if name in _SECTIONS else value
    return declaration


def _typed(value: Any) -> Any:
    """The number or boolean that a JSON text stands for; other text as it is."""
    if not isinstance(value, str):
        return value
    try:
        found = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value
    return found if isinstance(found, (bool, int, float)) else value
