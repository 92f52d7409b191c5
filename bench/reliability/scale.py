"""How far a run goes: the whole proof, or its short form."""

from __future__ import annotations

from typing import Final

import msgspec


class Scale(msgspec.Struct, frozen=True):
    """Processes and threads that register, commands beside them; alias moves and when to take stock of them first;
    seconds of load without the parts, of killing workers, of a model that hangs.

    Overload: how many times the capacity arrives, for how many seconds, and the request timeout in seconds; then the
    same two for callers who wait for their answers. Clients that leave; seconds of
    silent connections; rounds of large bodies; kills of the provisioner."""

    processes: int = 8
    threads: int = 8
    commands: int = 4
    moves: int = 100
    early: int = 20
    away: float = 5.0
    killing: float = 30.0
    hanging: float = 10.0
    overloads: tuple[int, ...] = (2, 5, 10)
    arriving: float = 20.0
    timeout: float = 5.0
    waiting: float = 45.0
    waiting_timeout: float = 10.0
    leavers: int = 10_000
    silent: float = 20.0
    floods: int = 5
    provisioner_kills: int = 6


FULL: Final = Scale()
QUICK: Final = Scale(2, 8, 2, 12, 6, 1.5, 6.0, 3.0, (5,), 10.0, 4.0, 12.0, 3.0, 2000, 6.0, 2, 3)
