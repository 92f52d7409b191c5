"""A model that is served under a name: its variants, and which of them a request goes to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from legion.gateway.deployments.choice import Choice
from legion.gateway.deployments.declaration import Declaration
from legion.gateway.deployments.observers import Observer, counting
from legion.gateway.deployments.release import Release
from legion.gateway.deployments.variant import Kept, Settings, Variant
from legion.gateway.metrics import Meter, Reading
from legion.gateway.traffic.split import Headers, by_weight


class Deployment:
    """Changed in place when it is declared anew, so that requests on their way find it as it is."""

    def __init__(self, declaration: Declaration, settings: Settings, kept: Mapping[str, Kept]) -> None:
        self.name = declaration.name
        self.declaration = declaration
        self.limits = declaration.limits
        # Counts what was refused before a variant was chosen.
        self.meter = Meter()
        self.now = asyncio.get_running_loop().time
        self.variants = [Variant(one, settings, kept.get(one.name, Kept())) for one in declaration.variants]
        self._prepare(settings)

    def _prepare(self, settings: Settings) -> None:
        """What every request needs of the declaration."""
        declared = self.declaration.variants
        self._only = self.variants[0] if len(self.variants) == 1 else None
        self._choose = by_weight([one.weight for one in declared], self.declaration.sticky, settings.runtime.random)
        self.observers: tuple[Observer, ...] = (counting(self.meter),)

    def redeclare(self, declaration: Declaration, settings: Settings) -> list[Variant]:
        """Take another declaration; variants that keep their name keep their release. The others are given back."""
        before = {variant.declared.name: variant for variant in self.variants}
        self.declaration, self.limits = declaration, declaration.limits
        self.variants = []
        for one in declaration.variants:
            variant = before.pop(one.name, None)
            if variant is None:
                variant = Variant(one, settings)
            resized = variant.settings.workers.replicas != settings.workers.replicas
            variant.declared, variant.settings = one, settings
            variant.limit(declaration.limits)
            if resized:
                variant.resize()
            self.variants.append(variant)
        self._prepare(settings)
        return list(before.values())

    def choose(self, headers: Headers) -> Choice | None:
        """The variant and its release that answer a request with these headers; None while there is no release."""
        variant = self._only or self.variants[self._choose(headers)]
        if variant.release is not None:
            return Choice(variant, variant.release)
        # An answer from another variant is better than none.
        return next((Choice(one, one.release) for one in self.variants if one.release is not None), None)

    @property
    def release(self) -> Release | None:
        """The first variant's release that there is: what the deployment's documents describe."""
        return next((variant.release for variant in self.variants if variant.release is not None), None)

    @property
    def releases(self) -> Sequence[Release]:
        """Every variant's release that there is."""
        return [variant.release for variant in self.variants if variant.release is not None]

    def has(self, version: str) -> bool:
        """Whether this version, by the artifact's or the registry's number, is the only one that answers."""
        return bool(self.releases) and all(version in release.versions for release in self.releases)

    @property
    def ready(self) -> bool:
        """Whether every variant that has a release has a worker to answer, and one has."""
        return bool(self.releases) and all(release.pool.ready for release in self.releases)

    @property
    def awaited(self) -> bool:
        """Whether a first release is still to come: not answering yet, and not refused."""
        return not self.releases and not any(variant.refused for variant in self.variants)

    def readings(self) -> Iterator[Reading]:
        """What the metrics say of it now."""
        for variant in self.variants:
            if (release := variant.release) is not None:
                pool = release.pool
                yield Reading(
                    self.name,
                    variant.declared.name,
                    release.delivery.plan.version,
                    release.meter,
                    waiting=pool.waiting,
                    workers=len(pool.pids),
                    swaps=variant.swaps,
                )
        if self.meter.statuses:
            yield Reading(self.name, "", "", self.meter)

    async def stop(self) -> None:
        """Answer what was taken in, then end every worker."""
        await asyncio.gather(*(variant.stop() for variant in self.variants))
