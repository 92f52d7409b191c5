"""One variant of a deployment: the release that answers, and how another takes its place.

A new version is started, warmed and held against its golden answers beside the one that answers; only then are
requests given to it, all at once. The one before finishes what it has, and stays warm for a rollback where
that is wanted. A version that fails on the way changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import msgspec

from legion.disk.cache import Hold
from legion.errors import LegionError, OutsideError, RefusedError, UsageError
from legion.gateway.deployments.declaration import VariantDeclaration, Workers
from legion.gateway.deployments.latest import Latest
from legion.gateway.deployments.release import Release, holds_of, named
from legion.gateway.deployments.runtime import Runtime
from legion.gateway.deployments.standby import Standby
from legion.gateway.deployments.turns import Turns
from legion.gateway.limits import Limits
from legion.provisioning_messages import Delivery, Event, Failure, Reach, Registered

_logger = logging.getLogger("legion.gateway")

# The errors that a failure's kind stands for.
_ERRORS: dict[str, type[LegionError]] = {"usage": UsageError, "refused": RefusedError, "outside": OutsideError}

# What could not be started for a reason outside of it (no more files, no memory) is tried again after so many seconds.
_RETRY = (10.0, 30.0, 60.0, 300.0)


class Refused(msgspec.Struct, frozen=True):
    """The last version that was not taken. `at` is in UTC."""

    reason: str
    at: str
    key: str | None = None
    digest: str | None = None
    registered: Registered | None = None


class Kept(msgspec.Struct, frozen=True):
    """What a variant remembers over a restart: what it served, the one before, what a rollback pinned it against."""

    delivery: Delivery | None = None
    previous: Delivery | None = None
    pinned_from: str | None = None


class Settings(msgspec.Struct, frozen=True):
    """What the deployment says for all its variants; what it calls never raises."""

    deployment: str
    workers: Workers
    limits: Limits
    turns: Turns
    runtime: Runtime
    say: Callable[[str], None]
    changed: Callable[[Variant], None]
    mark: Callable[[Registered, str | None], None]


class Variant:
    """`release` answers; it may be starting still, and then what it is given waits. None: nothing to answer with."""

    def __init__(self, declared: VariantDeclaration, settings: Settings, kept: Kept = Kept()) -> None:
        self.declared = declared
        self.settings = settings
        self.release: Release | None = None
        self.standby = Standby()
        self.refused: Refused | None = None
        self.starting: str | None = None
        self.registry: str | None = None
        self.swaps = {"taken": 0, "refused": 0}
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first.add_done_callback(lambda first: first.cancelled() or first.exception())
        self._previous: Delivery | None = None
        # So that what can be gone back to stays in the cache.
        self._previous_holds: list[Hold] = []
        self._remember(kept.previous)
        self._pinned_from = kept.pinned_from
        # Asked for, and neither served nor refused for good.
        self._coming: Delivery | None = None
        self._installing = Latest()
        self._failures = 0
        self._again: asyncio.TimerHandle | None = None

    @property
    def serving(self) -> Release | None:
        """The release that has been started and switched to."""
        return self.release if self.release is not None and self.release.since is not None else None

    @property
    def pinned(self) -> bool:
        """Whether a rollback holds it back from what its reference means."""
        return self._pinned_from is not None

    @property
    def kept(self) -> Kept:
        """What to remember over a restart."""
        serving = self.serving
        return Kept(None if serving is None else serving.delivery, self._previous, self._pinned_from)

    def hear(self, event: Event) -> None:
        """What the provisioner says of this variant's model."""
        if isinstance(event, Delivery):
            self.deliver(event)
        elif isinstance(event, Failure):
            self._refuse(_ERRORS[event.kind](event.reason), event)
        elif isinstance(event, Reach):
            self._reach(event.reason)
        else:
            self.starting = event.line
            self._say(event.line)

    def _reach(self, reason: str | None) -> None:
        """The registry cannot be asked, or can again; what is served stays."""
        if reason is None and self.registry is not None:
            self._say("the registry answers again")
        self.registry = reason
        if reason is not None:
            _logger.warning("%s: %s", self._whole_name, reason)
            if not self.first.done():
                self.first.set_exception(OutsideError(reason))

    def deliver(self, delivery: Delivery) -> None:
        """Start this version and, if it holds, switch to it; a newer delivery overtakes it."""
        if delivery.key == self._pinned_from:
            self.starting = None
            return
        self._pinned_from = None
        self._failures = 0
        self._install(delivery)

    def restore(self, delivery: Delivery) -> None:
        """Start what was served before a restart; a pin stays."""
        self._install(delivery)

    def ordered(self) -> None:
        """What the reference means is being looked for."""
        self.starting = f"looking for {self.declared.model}"

    def unpin(self) -> None:
        """Take what the reference means again, should it be delivered."""
        self._pinned_from = None

    def rollback(self) -> Delivery | None:
        """Go back to the version before; None where there is none. At once where it is warm."""
        before = self._previous
        if before is None:
            return None
        serving = self.serving
        self._pinned_from = None if serving is None else serving.delivery.key
        if self.standby.has(before, self.settings.workers.replicas):
            self._overtake()
            self._switch(self.standby.take())
        else:
            self._install(before)
        return before

    def resize(self) -> None:
        """Start the same version anew under the settings' workers; the one that is on its way, if one is."""
        if self._coming is not None:
            self._install(self._coming)
        elif self.release is not None:
            self._install(self.release.delivery)

    def limit(self, limits: Limits) -> None:
        """From the next request on these limits hold."""
        for release in (self.release, self.standby.release):
            if release is not None:
                release.pool.limits = limits

    async def stop(self) -> None:
        """Answer what was taken in, then end every worker."""
        self._overtake()
        await self._installing.stop()
        if self.release is not None:
            self.standby.let_go(self.release)
        await self.standby.stop()
        self._remember(None)

    def _install(self, delivery: Delivery) -> None:
        self._overtake()
        self._coming = delivery
        self._installing.run(partial(self._start, delivery))

    def _overtake(self) -> None:
        """Give up what is being started or is to be tried again: something else is asked for."""
        self._coming = None
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._installing.give_up()

    async def _start(self, delivery: Delivery) -> None:
        settings = self.settings
        replicas = settings.workers.replicas
        if self.serving is not None and self.serving.fits(delivery, replicas):
            self._settled()
            return
        if self.standby.has(delivery, replicas):
            self._switch(self.standby.take())
            return
        self.starting = f"starting {named(delivery)}"
        served_as = settings.deployment
        release = Release(delivery, settings.runtime, served_as=served_as, replicas=replicas, limits=settings.limits)
        if self.release is None:
            # Requests may come already; they wait until it is warm.
            self.release = release
        try:
            await settings.turns.run(release.pool.start())
        except Exception as error:
            self._give_up(release)
            self._refuse(self._named(error, delivery), delivery)
            if isinstance(error, RefusedError):
                self._coming = None
            else:
                self._retry_later(delivery)
        except BaseException:
            self._give_up(release)
            raise
        else:
            self._switch(release)

    def _named(self, error: Exception, delivery: Delivery) -> LegionError:
        """What went wrong in a start, as an error of our own."""
        if isinstance(error, LegionError):
            return error
        _logger.error("%s: %s could not be started", self._whole_name, named(delivery), exc_info=error)
        return OutsideError(f"{named(delivery)} could not be started: {type(error).__name__}: {error}")

    def _retry_later(self, delivery: Delivery) -> None:
        """Start it again after a while, unless something else is asked for by then."""
        delay = _RETRY[min(self._failures, len(_RETRY) - 1)]
        self._failures += 1
        self._again = asyncio.get_running_loop().call_later(delay, self._install, delivery)

    @property
    def _whole_name(self) -> str:
        return f"{self.settings.deployment}/{self.declared.name}"

    def _say(self, line: str) -> None:
        self.settings.say(f"{self._whole_name}: {line}")

    def _remember(self, previous: Delivery | None) -> None:
        """The version that a rollback goes to."""
        for held in self._previous_holds:
            held.close()
        self._previous = previous
        self._previous_holds = [] if previous is None else holds_of(previous)

    def _give_up(self, release: Release) -> None:
        # It may have been started by the time it is given up.
        self.standby.let_go(release)
        if self.release is release:
            self.release = None

    def _refuse(self, error: LegionError, version: Failure | Delivery) -> None:
        self.starting = None
        self.swaps["refused"] += 1
        at = self.settings.runtime.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self.refused = Refused(str(error), at, version.key, version.digest, version.registered)
        stays = "" if self.serving is None else f"; {self.serving} goes on answering"
        _logger.error("%s: %s%s", self._whole_name, error, stays)
        if version.registered is not None:
            self.settings.mark(version.registered, str(error))
        if not self.first.done():
            self.first.set_exception(error)
        self.settings.changed(self)

    def _switch(self, release: Release) -> None:
        """From here on every request goes to this release."""
        old = self.serving
        if release.pool.limits != self.settings.limits:
            release.pool.limits = self.settings.limits
        self.release = release
        release.taken()
        self.swaps["taken"] += 1
        if self.refused is not None and self.refused.registered == release.delivery.registered is not None:
            self.settings.mark(release.delivery.registered, None)
        if old is not None and old.delivery.key == release.delivery.key:
            self.standby.let_go(old)
        elif old is not None:
            self._say(f"{release} answers now, {old} finishes what it has")
            self._remember(old.delivery)
            self.standby.keep(old, self.settings.workers.keep_warm)
        self._settled()

    def _settled(self) -> None:
        self._failures = 0
        self._coming = self.starting = self.refused = None
        if not self.first.done():
            self.first.set_result(None)
        self.settings.changed(self)
