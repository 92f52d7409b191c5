"""What a deployment looks like from outside: the admin API's answer, ready for JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from legion.gateway.deployments.declaration import Declaration
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.release import Release
from legion.gateway.deployments.variant import Refused, Variant
from legion.gateway.protocols.table import PROTOCOLS
from legion.provisioning_messages import Registered


class ReleaseView(msgspec.Struct, frozen=True):
    """A release: which version, since when (UTC), by which path, in which processes."""

    artifact: str
    artifact_version: str
    digest: str | None
    registered: Registered | None
    since: str | None
    path: str
    merges: bool
    workers: list[int]


class VariantView(msgspec.Struct, frozen=True):
    """`starting` says what is going on, `refused` which version was not taken, `registry` why it cannot be asked."""

    name: str
    model: str
    weight: float
    serving: ReleaseView | None
    starting: str | None
    standby: ReleaseView | None
    refused: Refused | None
    registry: str | None


class View(msgspec.Struct, frozen=True):
    """`state` is ready, starting, refused (what was asked for is not what is served) or stopping."""

    name: str
    state: str
    pinned: bool
    declaration: Any
    paths: list[str]
    variants: list[VariantView]


def of(deployment: Deployment, *, stopping: bool = False) -> View:
    """The deployment as it is now."""
    return View(
        name=deployment.name,
        state="stopping" if stopping else _state(deployment),
        pinned=any(variant.pinned for variant in deployment.variants),
        declaration=_declaration(deployment.declaration),
        paths=[protocol.path.format(name=deployment.name) for protocol in PROTOCOLS],
        variants=[_variant(variant) for variant in deployment.variants],
    )


def _state(deployment: Deployment) -> str:
    variants = deployment.variants
    if any(variant.starting for variant in variants):
        return "starting"
    if any(variant.refused for variant in variants):
        return "refused"
    return "ready" if all(variant.serving for variant in variants) else "starting"


def _variant(variant: Variant) -> VariantView:
    declared = variant.declared
    return VariantView(
        name=declared.name,
        model=declared.model,
        weight=declared.weight,
        serving=_release(variant.serving),
        starting=variant.starting,
        standby=_release(variant.standby.release),
        refused=variant.refused,
        registry=variant.registry,
    )


def _release(release: Release | None) -> ReleaseView | None:
    if release is None:
        return None
    delivery, report = release.delivery, release.pool.report
    return ReleaseView(
        artifact=delivery.plan.name,
        artifact_version=delivery.plan.version,
        digest=delivery.digest,
        registered=delivery.registered,
        since=None if release.since is None else release.since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        path=report.path,
        merges=report.merges,
        workers=release.pool.pids,
    )


def _declaration(declaration: Declaration) -> dict[str, Any]:
    """In the fields and units that it is read in, so that it can be sent again."""
    limits, workers = declaration.limits, declaration.workers
    out: dict[str, Any] = {
        "name": declaration.name,
        "variants": [msgspec.to_builtins(variant) for variant in declaration.variants],
        "follow": declaration.follow if declaration.follow is not None else False,
        "limits": {name: getattr(limits, name) for name in ("max_body", "queue", "timeout", "start")},
        "workers": {"replicas": workers.replicas, "env": workers.env, "keep_warm": workers.keep_warm},
    }
    if declaration.sticky is not None:
        out["sticky"] = f"header:{declaration.sticky}"
    return out
