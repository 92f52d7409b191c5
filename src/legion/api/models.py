"""`legion.models`: the registered models, and the versions that their aliases and stages point to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import msgspec

from legion.api.deployments import connect
from legion.api.event_loop import off_the_loop
from legion.api.packing import Packed, made_from, packed
from legion.api.progress import LOGGED, Progress
from legion.api.settings import cache_folder, path_of
from legion.errors import LegionError, UsageError, VerificationError
from legion.provision.check import check
from legion.reference import parse as parse_reference
from legion.registry import delete as deletion
from legion.registry import promote as promotion
from legion.registry import rollback as way_back
from legion.registry import tags, versions
from legion.registry.delete import Deleted as Deleted
from legion.registry.promote import Moved as Moved
from legion.registry.store import RegisteredVersion, resolve
from legion.registry.versions import RegisteredModel as RegisteredModel
from legion.settings import gateway_url
from legion.toolchain.export import Wish

# Seconds. Who serves a version is additional information; a gateway that is away should not hold up the rest.
_GATEWAY_TIMEOUT = 3.0


class ServedVersion(RegisteredVersion, frozen=True):
    """A registered version; `served_by` names the deployments that serve it, None where the gateway did not answer."""

    served_by: tuple[str, ...] | None = None


class QueriedGateway(msgspec.Struct, frozen=True):
    """The gateway that was asked which versions it serves; `unreachable` is the error where it did not answer."""

    url: str
    unreachable: str | None = None


class ModelDetail(msgspec.Struct, frozen=True):
    """A registered model with all its versions, newest first.

    `aliases` and `previous` map an alias to its version now, and before Legion last moved it; `forced` maps a version
    to who forced its promotion, when and why.
    """

    name: str
    aliases: dict[str, str]
    previous: dict[str, str]
    forced: dict[str, str]
    versions: tuple[ServedVersion, ...]
    gateway: QueriedGateway


class Pulled(Packed, frozen=True):
    """A registered model as a file; `registered_digest` is that of the artifact that was pushed, None where a plain
    MLflow client registered it.

    The two digests differ where another zip library compressed the same content.
    """

    registered_digest: str | None = None


# Named as the command `legion models list`.
def list() -> tuple[RegisteredModel, ...]:  # noqa: A001
    """All registered models, by name. Raises RegistryError."""
    return versions.models()


def show(name: str, *, gateway: str | None = None) -> ModelDetail:
    """One registered model: its versions, aliases and stages, check results, and the deployments that serve it.

    `gateway`: the URL to ask what is served; else LEGION_GATEWAY, else http://127.0.0.1:5001.
    Raises RegistryError where there is no such model, UsageError for an invalid name.
    """
    found = versions.detail(name)
    url = gateway_url(os.environ, gateway)
    served, unreachable = _served(url, name)
    return ModelDetail(
        **{field: getattr(found, field) for field in ("name", "aliases", "previous", "forced")},
        versions=tuple(
            ServedVersion(
                **msgspec.structs.asdict(version),
                served_by=None if served is None else tuple(served.get(version.version, ())),
            )
            for version in found.versions
        ),
        gateway=QueriedGateway(url, unreachable),
    )


def promote(
    name: str,
    version: str | int,
    *,
    alias: str | None = None,
    stage: str | None = None,
    force: str | None = None,
    env: str = "auto",
    progress: Progress = LOGGED,
) -> Moved:
    """Point an alias (`champion` where neither is given) or a stage at this version, if its golden check passes.

    A version that has not been checked yet is checked first, in the environment `env`: auto, local, uv, conda or
    docker. `force` is the reason to skip the check; it is recorded in the registry. The result's `before` is the
    version that the alias pointed to until now.

    Raises RefusedError for a version that has not passed, UsageError, RegistryError.
    """
    if alias is None and stage is None:
        alias = "champion"
    number = str(version)
    if force is None:
        _check(versions.one(name, number), env, progress)
    return promotion.promote(name, number, alias=alias, stage=stage, forced=force)


def rollback(name: str, *, alias: str = "champion", to: str | int | None = None) -> Moved:
    """Point an alias back at its previous version, or at the version `to`; rolling back twice undoes it.

    Raises RefusedError where no previous version is recorded, or its golden check failed; RegistryError.
    """
    return way_back.rollback(name, alias=alias, to=None if to is None else str(to))


def pull(
    reference: str,
    output: str | PathLike[str] | None = None,
    *,
    env: str = "auto",
    progress: Progress = LOGGED,
) -> Pulled:
    """Download `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/ID/PATH` as one artifact.

    `output`: the file, or a folder for NAME-VERSION.zip; the current folder by default. A model that Legion
    registered is compared with what was pushed; one that a plain MLflow client registered is packed, which runs it
    in the environment `env`: auto, local, uv, conda or docker.

    Raises UsageError for a path, VerificationError where the content differs from what was pushed, RegistryError.
    """
    parsed = parse_reference(reference)
    if parsed.scheme == "path":
        raise UsageError(f"{reference!r} is a path; give models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID/PATH")
    digest = None
    if parsed.alias or parsed.version:
        # From here on this very version, wherever its alias moves meanwhile.
        version = resolve(parsed)
        parsed, digest = versions.reference_to(version.name, version.version), version.digest
    made = packed(made_from(parsed, Wish(out=path_of(output), env=env), progress=progress))
    return Pulled(**msgspec.structs.asdict(made), registered_digest=digest)


def delete(name: str, version: str | int | None = None, *, force: bool = False) -> Deleted:
    """Delete one version, or the model with all its versions.

    Raises RefusedError, unless `force` is set, where an alias points to a version or it is in Production;
    RegistryError where it does not exist.
    """
    return deletion.delete(name, None if version is None else str(version), force=force)


def _check(version: RegisteredVersion, env: str, progress: Progress) -> None:
    """Check a version that has not passed yet, and record the result. Raises VerificationError."""
    if version.golden == tags.NO_GOLDEN or tags.has_passed(version.golden):
        return
    text = f"models:/{version.name}/{version.version}"
    try:
        golden = off_the_loop(
            lambda: check(text, env=env, cache=cache_folder(), say=progress.say, digest=version.digest)
        )
    except VerificationError as error:
        versions.record_golden(version.name, version.version, tags.failed(str(error)))
        raise
    versions.record_golden(version.name, version.version, golden)


def _served(url: str, name: str) -> tuple[dict[str, Sequence[str]] | None, str | None]:
    """Version → the deployments that serve it, and None; or None and why the gateway could not be asked."""
    try:
        with connect(url, timeout=_GATEWAY_TIMEOUT) as client:
            views = client.deployments()
    except LegionError as error:
        return None, str(error)
    served: dict[str, Sequence[str]] = {}
    for view in views:
        for version, deployment in _versions_in(view, name):
            served[version] = (*served.get(version, ()), deployment)
    return served, None


def _versions_in(view: dict[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """The versions of the model that a deployment serves or keeps warm, and what to call it there."""
    for variant in view["variants"]:
        place = view["name"] if len(view["variants"]) == 1 else f"{view['name']}/{variant['name']}"
        for state, note in (("serving", ""), ("standby", " (warm)")):
            known = (variant[state] or {}).get("registered")
            if known and known["name"] == name:
                yield str(known["version"]), place + note
