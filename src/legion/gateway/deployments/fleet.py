"""The deployments of one gateway: put up, declared anew, rolled back, taken down, restored after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import ParamSpec

from legion.gateway.deployments.declaration import Declaration, VariantDeclaration, moves
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.provisioner import Provisioner
from legion.gateway.deployments.routes import Routes
from legion.gateway.deployments.runtime import REAL, Runtime
from legion.gateway.deployments.saved_deployments import SavedDeployment, SavedDeployments
from legion.gateway.deployments.turns import Turns
from legion.gateway.deployments.variant import Kept, Settings, Variant
from legion.provisioning_messages import Delivery
from legion.reference import parse

P = ParamSpec("P")

_logger = logging.getLogger("legion.gateway")


class Fleet:
    """By name. With a folder of saved deployments, what is accepted outlives the process."""

    def __init__(
        self,
        routes: Routes,
        provisioner: Provisioner,
        say: Callable[[str], None],
        saved: SavedDeployments | None = None,
        runtime: Runtime = REAL,
    ) -> None:
        self.deployments: dict[str, Deployment] = {}
        self._routes = routes
        self._provisioner = provisioner
        self._say = say
        self._saved = saved
        self._turns = Turns()
        self._runtime = runtime
        self._orders: dict[Variant, int] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def put(self, declaration: Declaration, kept: Mapping[str, Kept] | None = None) -> Deployment:
        """Accept a declaration: a new deployment, or another state of one that is there. The work goes on behind it.

        `kept` is by the variants' names: what is there to start with. Raises OSError where it cannot be kept on disk.
        """
        kept = kept or {}
        deployment = self.deployments.get(declaration.name)
        if self._saved is not None:
            self._saved.write(SavedDeployment(declaration, dict(kept) if deployment is None else _kept(deployment)))
        if deployment is None:
            deployment = Deployment(declaration, self._settings(declaration), kept)
            self.deployments[declaration.name] = deployment
            self._routes.mount(deployment)
            for variant in deployment.variants:
                self._supply(deployment, variant, kept.get(variant.declared.name, Kept()).delivery)
        else:
            self._redeclare(deployment, declaration, kept)
        return deployment

    def _redeclare(self, deployment: Deployment, declaration: Declaration, kept: Mapping[str, Kept]) -> None:
        before = {variant: _wanted(variant.declared, deployment.declaration) for variant in deployment.variants}
        for variant in deployment.redeclare(declaration, self._settings(declaration)):
            self._cancel(variant)
            self._leave(variant)
        for variant in deployment.variants:
            same = before.get(variant) == _wanted(variant.declared, declaration)
            # A file may hold another model by now.
            on_disk = parse(variant.declared.model).scheme == "path"
            if not same or on_disk or variant.pinned or variant.refused:
                self._cancel(variant)
                variant.unpin()
                self._supply(deployment, variant, kept.get(variant.declared.name, Kept()).delivery)

    def rollback(self, name: str, variant: str | None) -> Delivery | None:
        """Go back to the version before, of that variant or the first; None where there is none. Raises KeyError."""
        variants = {one.declared.name: one for one in self.deployments[name].variants}
        return (next(iter(variants.values())) if variant is None else variants[variant]).rollback()

    async def remove(self, name: str) -> None:
        """Answer what was taken in, end the workers, forget it. Raises KeyError."""
        deployment = self.deployments.pop(name)
        self._routes.unmount(deployment)
        for variant in deployment.variants:
            self._cancel(variant)
        try:
            if self._saved is not None:
                self._saved.remove(name)
        finally:
            await deployment.stop()

    def restore(self) -> None:
        """Put up again what the saved holds."""
        for entry in self._saved.read() if self._saved is not None else ():
            self.put(entry.declaration, entry.kept)

    async def stop(self) -> None:
        """Answer what was taken in, then end every process."""
        await self._provisioner.stop()
        stops = [deployment.stop() for deployment in self.deployments.values()]
        for error in await asyncio.gather(*stops, *self._leaving, return_exceptions=True):
            if isinstance(error, Exception):
                _logger.error("a deployment could not be ended", exc_info=error)

    def _settings(self, declaration: Declaration) -> Settings:
        return Settings(
            deployment=declaration.name,
            workers=declaration.workers,
            limits=declaration.limits,
            turns=self._turns,
            runtime=self._runtime,
            say=_unfailing(self._say),
            changed=_unfailing(partial(self._keep, declaration.name)),
            mark=_unfailing(self._provisioner.mark),
        )

    def _supply(self, deployment: Deployment, variant: Variant, delivery: Delivery | None) -> None:
        """Begin with the delivery that is there, if any, and order what more is wanted."""
        if delivery is not None and not (Path(delivery.plan.folder).is_dir() and Path(delivery.python).exists()):
            # It was cleaned out of the cache while the gateway was down.
            delivery = None
        if delivery is not None:
            variant.restore(delivery)
        else:
            variant.ordered()
        follow = _follow(variant.declared, deployment.declaration)
        if delivery is not None and follow is None:
            return
        self._orders[variant] = self._provisioner.order(
            variant.declared.model,
            variant.hear,
            env=deployment.declaration.workers.env,
            follow=follow,
            known=None if delivery is None else delivery.key,
        )

    def _cancel(self, variant: Variant) -> None:
        number = self._orders.pop(variant, None)
        if number is not None:
            self._provisioner.cancel(number)

    def _leave(self, variant: Variant) -> None:
        task = asyncio.get_running_loop().create_task(variant.stop())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _keep(self, name: str, variant: Variant) -> None:
        deployment = self.deployments.get(name)
        if deployment is None or self._saved is None:
            return
        try:
            self._saved.write(SavedDeployment(deployment.declaration, _kept(deployment)))
        except OSError as error:
            _logger.error("%s: what is served now is not kept for a restart (%s)", name, error.strerror)


def _unfailing(call: Callable[P, None]) -> Callable[P, None]:
    """The same, but what it raises is a line in the log: it holds up nothing that is served."""

    def unfailing(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            call(*args, **kwargs)
        except Exception:
            _logger.exception("what a deployment had to say was not taken")

    return unfailing


def _kept(deployment: Deployment) -> dict[str, Kept]:
    return {variant.declared.name: variant.kept for variant in deployment.variants}


def _follow(declared: VariantDeclaration, declaration: Declaration) -> float | None:
    return declaration.follow if moves(parse(declared.model)) else None


def _wanted(declared: VariantDeclaration, declaration: Declaration) -> tuple[str, str, float | None]:
    """What decides which version a variant gets, and how."""
    return declared.model, declaration.workers.env, _follow(declared, declaration)
