"""One gateway with 1, 10 and 100 models: the hot path of one of them must not feel the others."""

from __future__ import annotations

import time
from contextlib import ExitStack

import models
import servers
from figures import Figure, Section, over
from load import rounds
from memory import held_mb
from pace import Pace

# The question is one of a few hundredths, less than the machine differs from second to second: many short rounds, and
# a second gateway like the first to show what is left of that.
_ROUNDS = 8
_AGAIN = "1 model again"


def gateways(pace: Pace) -> list[Section]:
    """The wine model alone, alone again and among others, all gateways side by side, loaded in turns."""
    wine = models.get("wine")
    sides = {_AGAIN: 1, **{_label(count): count for count in pace.gateways}}
    with ExitStack() as stack:
        found, ready, held = {}, {}, {}
        for name, count in sides.items():
            port = servers.free_port()
            others = [f"{path.name}={path}" for path in models.tiny(count - 1)]
            command = servers.legion([f"wine={wine.artifact}", *others], port)
            began = time.monotonic()
            server = servers.running(f"gateway-{name.replace(' ', '-')}", command, port, "/models/wine/invocations")
            found[name] = stack.enter_context(server)
            ready[name] = time.monotonic() - began
            held[name] = held_mb(found[name].pid)
        servers.check_alike(list(found.values()), wine.one)
        targets = {name: server.target(wine.one) for name, server in found.items()}
        rates = rounds(targets, 32, count=_ROUNDS * pace.rounds, seconds=1)
    return [_section(pace, {name: rate.per_second for name, rate in rates.items()}, ready, held)]


def _label(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"


def _section(
    pace: Pace, rate: dict[str, float | None], ready: dict[str, float], held: dict[str, float | None]
) -> Section:
    alone, *more = (_label(count) for count in pace.gateways)
    hot = [
        Figure(
            f"gateways.{name.split()[0]}",
            f"wine, one row, 32 connections: {name}",
            "req/s",
            {alone: rate[alone], name: rate[name]},
            over(rate[name], rate[alone]),
            0.95,
            f"{name} / alone",
        )
        for name in more
    ]
    again = Figure(
        "gateways.again",
        "the same: another gateway with one model",
        "req/s",
        {alone: rate[alone], _AGAIN: rate[_AGAIN]},
        over(rate[_AGAIN], rate[alone]),
        None,
        f"{_AGAIN} / alone",
    )
    rest = [
        Figure("gateways.ready", "until every model is ready", "s", dict(ready)),
        Figure("gateways.memory", "memory of all processes", "MB", held),
    ]
    notes = (
        "One worker a model; the others are tiny models in pure Python. Memory counts shared pages once.",
        f"{_ROUNDS * pace.rounds} rounds of one second; what two gateways with one model differ by is chance.",
    )
    return Section("1, 10 and 100 models in one gateway", (alone, _AGAIN, *more), (*hot, again, *rest), notes)
