"""Every connection is looked at, once a second, for as long as it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from virtual_loop import run

from legion.gateway.http.connections import Connections


class Connection:
    def __init__(self) -> None:
        self.seen: list[float] = []
        self.then: Callable[[], object] = lambda: None

    def examine(self, now: float) -> None:
        self.seen.append(now)
        self.then()

    def idle(self, now: float) -> float:
        return 0.0

    def make_way(self) -> None:
        raise AssertionError("there is room")


def test_each_is_examined_once_a_second_and_none_that_has_ended() -> None:
    async def scenario() -> None:
        connections = Connections()
        all_of_them = [Connection() for _ in range(1000)]

        def end_all_but(this: Connection) -> None:
            for one in all_of_them:
                if one is not this:
                    connections.discard(one)

        for connection in all_of_them:
            assert connections.add(connection, 0.0)
            # Whichever comes first ends all others.
            connection.then = partial(end_all_but, connection)
        assert connections.meter.open == 1000
        watching = asyncio.get_running_loop().create_task(connections.watch())
        await asyncio.sleep(3.5)
        watching.cancel()
        assert connections.meter.open == 1
        assert sorted(connection.seen for connection in all_of_them) == [[]] * 999 + [[1.0, 2.0, 3.0]]

    run(scenario)
