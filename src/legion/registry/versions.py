"""What the registry holds: its models, one model's versions, and what was found out about one of them."""

from __future__ import annotations

import contextlib
import datetime
import platform
from typing import Any

import msgspec

from legion.errors import LegionError, UsageError
from legion.reference import Reference
from legion.registry import tags
from legion.registry.client import answering, connect
from legion.registry.contention import patiently
from legion.registry.store import RegisteredVersion, check_names, registered

_PAGE = 200


class RegisteredModel(msgspec.Struct, frozen=True):
    """One registered model: `latest` is its newest version's number, None where it has none; `aliases` and `stages`
    say which version each means now."""

    name: str
    latest: str | None = None
    aliases: dict[str, str] = {}
    stages: dict[str, str] = {}


class Detail(msgspec.Struct, frozen=True):
    """A registered model with all its versions, newest first.

    `previous` is, for an alias, the version it pointed to before Legion last moved it; `forced`, for a version, who
    forced its promotion, when and why.
    """

    name: str
    aliases: dict[str, str]
    previous: dict[str, str]
    forced: dict[str, str]
    versions: tuple[RegisteredVersion, ...]


def models(*, tracking_uri: str | None = None) -> tuple[RegisteredModel, ...]:
    """All registered models, by name. Raises RegistryError."""
    client = connect(tracking_uri)
    with answering("the registry's models could not be listed"):
        found = _all_pages(client.search_registered_models)
        return tuple(sorted(map(_model, found), key=lambda model: model.name))


def detail(name: str, *, tracking_uri: str | None = None) -> Detail:
    """One model with its versions. Raises RegistryError where there is no such model, UsageError for the name."""
    check_names(name)
    client = connect(tracking_uri)
    with answering(f"{name} could not be shown"):
        model = client.get_registered_model(name)
        found = _all_pages(lambda **page: client.search_model_versions(f"name='{name}'", **page))
    pointed = {alias: str(version) for alias, version in model.aliases.items()}
    # A search leaves the aliases out.
    versions = [
        msgspec.structs.replace(
            registered(version),
            aliases=tuple(sorted(alias for alias, number in pointed.items() if number == str(version.version))),
        )
        for version in sorted(found, key=lambda version: int(version.version), reverse=True)
    ]
    return Detail(name, pointed, _marked(model, tags.PREVIOUS), _marked(model, tags.FORCED), tuple(versions))


def one(name: str, version: str, *, tracking_uri: str | None = None) -> RegisteredVersion:
    """One version by its number. Raises RegistryError where it is not there, UsageError for what is no number."""
    check_names(name)
    number = checked_number(version)
    client = connect(tracking_uri)
    with answering(f"{name} has no version {number}"):
        return registered(client.get_model_version(name, number))


def checked_number(version: str) -> str:
    """A version's number as MLflow writes it. Raises UsageError for anything else."""
    if not (version.isascii() and version.isdigit()):
        raise UsageError(f"{version!r} is no version; give its number, such as 3")
    return str(int(version))


def reference_to(name: str, version: str) -> Reference:
    """models:/NAME/VERSION."""
    return Reference("models", f"models:/{name}/{version}", name, None, version)


def record_golden(name: str, version: str, golden: str, *, tracking_uri: str | None = None) -> None:
    """Write what a check of the golden answers gave. Raises RegistryError, UsageError for what is no such state."""
    golden = tags.checked_golden(golden)
    client = connect(tracking_uri)
    with answering(f"the check of {name} version {version} could not be recorded"):
        patiently(lambda: client.set_model_version_tag(name, version, tags.GOLDEN, golden))


def mark_refused(name: str, version: str, reason: str, *, tracking_uri: str | None = None) -> bool:
    """Record on a version why it is not served here: `<reason> (<host>, <time>)`.

    A best effort that never raises, since serving goes on without the registry; False where it was not written.
    """
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"{reason[:2000]} ({platform.node()}, {now})"
    return _quietly(lambda client: client.set_model_version_tag(name, version, tags.REFUSED, text), tracking_uri)


def clear_refused(name: str, version: str, *, tracking_uri: str | None = None) -> bool:
    """Remove what `mark_refused` wrote, once the version is served after all. Never raises."""

    def clear(client: Any) -> None:
        # MLflow's databases pass over a tag that is not there; its server says that it is not.
        if tags.REFUSED in client.get_model_version(name, version).tags:
            client.delete_model_version_tag(name, version, tags.REFUSED)

    return _quietly(clear, tracking_uri)


def _quietly(write: Any, tracking_uri: str | None) -> bool:
    with contextlib.suppress(LegionError), answering("the refusal could not be recorded"):
        write(connect(tracking_uri))
        return True
    return False


def _model(found: Any) -> RegisteredModel:
    latest = found.latest_versions
    newest = max((int(version.version) for version in latest), default=None)
    stages = {version.current_stage: str(version.version) for version in latest if version.current_stage != "None"}
    aliases = {alias: str(number) for alias, number in found.aliases.items()}
    return RegisteredModel(found.name, None if newest is None else str(newest), aliases, stages)


def _marked(model: Any, prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in model.tags.items() if key.startswith(prefix)}


def _all_pages(search: Any) -> list[Any]:
    found, token = [], None
    while True:
        page = search(max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
