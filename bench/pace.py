"""How long a run takes: everything, or a smoke run."""

from __future__ import annotations

from typing import Final

import msgspec


class Pace(msgspec.Struct, frozen=True):
    """Rounds and seconds of load; how often short commands run; sizes of the files; models a gateway."""

    rounds: int = 5
    seconds: int = 3
    repeats: int = 3
    timed_requests: int = 500
    rows: int = 500_000
    more_rows: int = 5_000_000
    megabytes: int = 500
    gateways: tuple[int, ...] = (1, 10, 100)


FULL: Final = Pace()
QUICK: Final = Pace(1, 2, 1, 100, 20_000, 200_000, 20, (1, 3, 6))
