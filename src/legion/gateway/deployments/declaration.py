"""A deployment as its author declares it: DEPLOYMENT.yaml or the same as JSON → frozen values.

    name: wine
    variants:
      - {name: champion, model: "models:/wine@champion", weight: 90}
      - {name: challenger, model: "models:/wine@challenger", weight: 10}
    sticky: header:X-User-Id
    limits: {max_body: 64MiB, queue: 1024, timeout: 60s, start: 300s}
    workers: {replicas: 1, env: auto, keep_warm: 300s}

Every fault is found and named by its field's path. docs/deployments.md describes the fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from legion.documents import strict_yaml
from legion.documents.faults import Faults
from legion.documents.fields import Fields
from legion.errors import Fault, LegionError, RefusedError
from legion.gateway.limits import MIB, Limits
from legion.reference import Reference, parse

FOLLOW_EVERY = 2.0
KEEP_WARM = 300.0
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_HEADER = re.compile(r"header:([A-Za-z0-9-]{1,64})")
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h)?")
_BYTES = re.compile(r"(\d{1,12})\s*(B|KiB|MiB|GiB)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "B": 1, "KiB": 1024, "MiB": MIB, "GiB": 1024 * MIB}
# Each is a process at least, and a path is no longer on any system.
_MOST_VARIANTS = 1000
_LONGEST_REFERENCE = 4096
_ENVS = ("auto", "local", "uv", "conda", "docker")


class VariantDeclaration(msgspec.Struct, frozen=True):
    """One of the models behind a deployment; the weights of all sum to 100."""

    name: str
    model: str
    weight: float = 100.0


class Workers(msgspec.Struct, frozen=True):
    """`replicas` processes a variant; the release before stays warm for `keep_warm` seconds after a swap."""

    replicas: int = 1
    env: str = "auto"
    keep_warm: float = KEEP_WARM


class Declaration(msgspec.Struct, frozen=True, omit_defaults=True):
    """`follow` is the seconds between looks at the registry, None to stay at what was found first.

    `sticky` is the lower-case name of the header by whose value a caller always meets the same variant.
    """

    name: str
    variants: tuple[VariantDeclaration, ...]
    follow: float | None = None
    sticky: str | None = None
    limits: Limits = Limits()
    workers: Workers = Workers()


class DeclarationError(RefusedError):
    """A declaration with faults: `faults` holds all of them, or a first few and how many more there are."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        lines = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
        super().__init__(f"{source} cannot be deployed: {lines}")


def read_yaml(text: bytes, source: str) -> Declaration:
    """A DEPLOYMENT.yaml. Raises DeclarationError with every fault."""
    tree, faults = strict_yaml.read(text)
    return _read(strict_yaml.typed(tree), source, faults, None)


def read_json(body: bytes, source: str, name: str) -> Declaration:
    """The same fields as JSON, for the deployment of that name. Raises DeclarationError."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DeclarationError(source, [Fault("(body)", f"is no JSON ({error})")]) from None
    return _read(tree, source, Faults(), name)


def _read(tree: Any, source: str, faults: Faults, name: str | None) -> Declaration:
    if not isinstance(tree, dict):
        raise DeclarationError(source, faults or [Fault("(file)", "must be a mapping of fields")])
    fields = Fields(tree, "", faults)
    if name is None:
        found = fields.required("name", _plain_name, "")
    else:
        found = fields.optional("name", _plain_name, name)
        if found != name:
            fields.fault("name", f"is {found!r}, and the deployment is {name!r}; leave it out or make them equal")
    variants = _variants(fields)
    declaration = Declaration(
        name=found,
        variants=variants,
        follow=fields.optional("follow", _follow, _default_follow(variants)),
        sticky=fields.optional("sticky", _sticky, None),
        limits=_limits(fields.section("limits")),
        workers=_workers(fields.section("workers")),
    )
    if fields.optional("shadow", lambda value: value, []):
        fields.fault("shadow", "shadow traffic is not served yet; remove it")
    fields.refuse_rest()
    if faults:
        raise DeclarationError(source, faults)
    return declaration


def _variants(fields: Fields) -> tuple[VariantDeclaration, ...]:
    model = fields.optional("model", _model, None)
    listed = fields.optional("variants", _list, None)
    if (model is None) == (listed is None):
        if not fields.faults:
            fields.fault("variants", "is missing" if model is None else "and model are both there; keep one of them")
        return ()
    if model is not None:
        return (VariantDeclaration("champion", model),)
    assert listed is not None
    alone = len(listed) == 1
    variants = [_variant(item, f"variants[{place}]", alone, fields.faults) for place, item in enumerate(listed)]
    names = [variant.name for variant in variants]
    if len(set(names)) != len(names):
        fields.fault("variants", "two of them have the same name; name each differently")
    total = sum(variant.weight for variant in variants)
    if not 99.999 < total < 100.001:
        fields.fault("variants", f"their weights sum to {total:g}; make it 100")
    return tuple(variants)


def _variant(item: Any, path: str, alone: bool, faults: Faults) -> VariantDeclaration:
    if not isinstance(item, dict):
        faults.add(path, "must be a mapping with name and model")
        return VariantDeclaration(path, "", 0.0)
    fields = Fields(item, path, faults)
    found = VariantDeclaration(
        fields.required("name", _plain_name, path),
        fields.required("model", _model, ""),
        fields.optional("weight", _weight, 100.0 if alone else 0.0),
    )
    fields.refuse_rest()
    return found


def _limits(section: Fields) -> Limits:
    default = Limits()
    limits = Limits(
        max_body=section.optional("max_body", _bytes, default.max_body),
        queue=section.optional("queue", _count(1, 1_000_000), default.queue),
        timeout=section.optional("timeout", _positive_seconds, default.timeout),
        start=section.optional("start", _positive_seconds, default.start),
    )
    section.refuse_rest()
    return limits


def _workers(section: Fields) -> Workers:
    workers = Workers(
        replicas=section.optional("replicas", _count(1, 256), 1),
        env=section.optional("env", _env, "auto"),
        keep_warm=section.optional("keep_warm", seconds, KEEP_WARM),
    )
    section.refuse_rest()
    return workers


def moves(reference: Reference) -> bool:
    """Whether what the reference means may change: an alias, a stage, or the latest version."""
    return reference.alias is not None or (reference.version is not None and not reference.version.isdigit())


def _default_follow(variants: tuple[VariantDeclaration, ...]) -> float | None:
    return FOLLOW_EVERY if any(variant.model and moves(parse(variant.model)) for variant in variants) else None


def _follow(value: Any) -> float | None:
    if value is True:
        return FOLLOW_EVERY
    return None if value is False else _positive_seconds(value)


def seconds(value: Any) -> float:
    """Seconds of a number, or of text such as `500ms`, `60s`, `5m`, `1h`. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = f"{value:f}" if 0 <= value < 1e9 else "?"
    match = _SECONDS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a time such as 500ms, 60s or 5m")
    return float(match[1]) * _UNITS[match[2] or "s"]


def _positive_seconds(value: Any) -> float:
    found = seconds(value)
    if found < 0.01:
        raise ValueError("must be at least 10ms")
    return found


def _bytes(value: Any) -> int:
    match = _BYTES.fullmatch(str(value)) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    if match is None or not int(match[1]):
        raise ValueError("must be a size such as 64MiB")
    return int(match[1]) * int(_UNITS[match[2] or "B"])


def _count(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return read


def _weight(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        raise ValueError("must be a number from 0 to 100")
    return float(value)


def _plain_name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("must be letters, digits, - and _, at most 63")
    return value


def _model(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_REFERENCE:
        raise ValueError("must be a model reference such as models:/wine@champion")
    try:
        parse(value)
    except LegionError as error:
        raise ValueError(str(error)) from None
    return value


def _sticky(value: Any) -> str:
    match = _HEADER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must name a header, such as header:X-User-Id")
    return match[1].lower()


def _env(value: Any) -> str:
    if value not in _ENVS:
        raise ValueError(f"must be {', '.join(_ENVS[:-1])} or {_ENVS[-1]}")
    return str(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list with at least one variant")
    if len(value) > _MOST_VARIANTS:
        raise ValueError(f"holds {len(value)} variants, and {_MOST_VARIANTS} is the most")
    return value
