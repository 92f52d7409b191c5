"""Which models are ordered from the provisioner, what it works on, and which of them it keeps dying of."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec

from legion.provisioning_messages import Bringing, Delivery, Event, Failure, Notice, Order, Progress, Reach

# An order that is all the provisioner works on when it ends, so many times in a row, is refused.
DEATHS = 3

OnEvent = Callable[[Event], None]
# Events and who is to be told of each.
Told = list[tuple[OnEvent, Event]]


class _Entry:
    """One order: whether this life of the process has been `sent` it and is at `work` on it, and on what."""

    def __init__(self, order: Order, on_event: OnEvent) -> None:
        self.order = order
        self.on_event = on_event
        self.sent = False
        self.work = False
        self.bringing: Bringing | None = None
        # It was worked on beside others when the process ended.
        self.suspect = False
        self.deaths = 0
        self.unreachable = False

    def rest(self) -> None:
        self.work, self.bringing = False, None


class Orders:
    """The orders that are not fulfilled yet, and those that follow a reference.

    When the process ends, whatever it worked on may be why. One order alone is blamed, several are suspects. A suspect
    is sent only while no other suspect is worked on, so that the one that is to blame is soon alone; the others lose
    no more than time.
    """

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._entries: dict[int, _Entry] = {}

    def add(self, model: str, on_event: OnEvent, *, env: str, follow: float | None, known: str | None) -> int:
        """Take an order in; returns its number."""
        order = Order(next(self._ids), model, env, follow, known)
        self._entries[order.id] = _Entry(order, on_event)
        return order.id

    def remove(self, number: int) -> bool:
        """Forget an order; returns whether the process knows of it."""
        entry = self._entries.pop(number, None)
        return entry is not None and entry.sent

    def due(self) -> list[Order]:
        """What is to be sent now; from here on it is worked on."""
        found = []
        suspected = any(entry.suspect and entry.work for entry in self._entries.values())
        for entry in self._entries.values():
            if entry.sent or (entry.suspect and suspected):
                continue
            suspected = suspected or entry.suspect
            entry.sent = entry.work = True
            found.append(entry.order)
        return found

    def hear(self, event: Notice) -> Told:
        """Note what the process says; returns what is to be passed on."""
        entry = self._entries.get(event.id)
        if entry is None:
            return []
        told: Told = []
        if entry.unreachable and not (isinstance(event, Reach) and event.reason is not None):
            entry.unreachable = False
            told.append((entry.on_event, Reach(event.id, None)))
        if isinstance(event, Bringing):
            entry.work, entry.bringing = True, event
            return told
        if not isinstance(event, Progress):
            entry.rest()
            entry.suspect, entry.deaths = False, 0
        if isinstance(event, Delivery | Failure):
            self._settle(entry, event)
        return [*told, (entry.on_event, event)]

    def ended(self) -> Told:
        """The process is no more: all is to be sent again, but for an order that it ended on too often."""
        working = [entry for entry in self._entries.values() if entry.work]
        told: Told = []
        for entry in working:
            entry.suspect = True
        if len(working) == 1:
            working[0].deaths += 1
            if working[0].deaths == DEATHS:
                told.append((working[0].on_event, self._refuse(working[0])))
        for entry in self._entries.values():
            entry.sent = False
            entry.rest()
        return told

    def unreachable(self, reason: str) -> Told:
        """What to tell those who wait while there is no process."""
        waiting = [entry for entry in self._entries.values() if not entry.unreachable]
        for entry in waiting:
            entry.unreachable = True
        return [(entry.on_event, Reach(entry.order.id, reason)) for entry in waiting]

    def _settle(self, entry: _Entry, event: Delivery | Failure) -> None:
        """After an answer."""
        order = entry.order
        if order.follow is None:
            del self._entries[order.id]
        elif isinstance(event, Delivery) or event.kind != "outside":
            # Should the process be started again, it need not bring this again.
            entry.order = msgspec.structs.replace(order, known=event.key or order.known)

    def _refuse(self, entry: _Entry) -> Failure:
        order, bringing = entry.order, entry.bringing
        reason = f"bringing {order.model} ended the provisioner {DEATHS} times in a row"
        if bringing is None or order.follow is None:
            del self._entries[order.id]
            reason += "; see why in the gateway's log, and deploy it again"
        else:
            # Whatever else the reference means later is brought all the same.
            entry.order = msgspec.structs.replace(order, known=bringing.key)
            entry.suspect, entry.deaths = False, 0
            reason += "; see why in the gateway's log, and register a version that can be brought"
        registered = None if bringing is None else bringing.registered
        key, digest = (None, None) if bringing is None else (bringing.key, bringing.digest)
        return Failure(order.id, reason, "refused", key, digest, registered)
