"""Served predictions: mlflow, FastAPI by hand, Legion and the echo server under the same load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import models
import servers
from exchange import PARTS, parts
from figures import Figure, Section, over
from load import Rate, rounds
from models import Model
from pace import Pace
from servers import Server

PEERS = ("mlflow", "FastAPI", "Legion")
COLUMNS = (*PEERS, "echo")
# The aim for Legion's share of the echo server, beyond what is wanted now.
AIM = 0.85


@contextmanager
def compared(model: Model, *, with_echo: bool = False) -> Iterator[dict[str, Server]]:
    """The servers with this model, side by side, after they gave the same answers."""
    commands = {"mlflow": servers.mlflow, "FastAPI": servers.handwritten}
    with ExitStack() as stack:
        found = {}
        for name, command in commands.items():
            port = servers.free_port()
            found[name] = stack.enter_context(servers.running(name, command(model, port), port))
        port = servers.free_port()
        command_line = servers.legion([str(model.artifact)], port)
        found["Legion"] = stack.enter_context(servers.running("Legion", command_line, port))
        for body in (model.one, model.thousand):
            servers.check_alike([found[name] for name in PEERS], body)
        if with_echo:
            port = servers.free_port()
            found["echo"] = stack.enter_context(servers.running("echo", servers.echo(port), port))
        yield found


def loaded(found: dict[str, Server], body: Path, connections: int, pace: Pace) -> dict[str, Rate]:
    """Every server under this load, in turns."""
    targets = {name: server.target(body) for name, server in found.items()}
    return rounds(targets, connections, count=pace.rounds, seconds=pace.seconds)


def throughput(
    key: str,
    what: str,
    rates: dict[str, Rate],
    target: float | None = None,
    *,
    ours: str = "Legion",
    other: str = "mlflow",
) -> Figure:
    """Requests per second, and how many times the other's ours are."""
    values = {name: rate.per_second for name, rate in rates.items()}
    return Figure(key, what, "req/s", values, over(values[ours], values[other]), target, f"{ours} / {other}")


def latency(
    key: str,
    what: str,
    rates: dict[str, Rate],
    target: float | None = None,
    *,
    ours: str = "Legion",
    other: str = "mlflow",
) -> Figure:
    """Median latency, and how many times ours the other's is."""
    values = {name: rate.p50_ms for name, rate in rates.items()}
    return Figure(key, what, "ms", values, over(values[other], values[ours]), target, f"{other} / {ours}")


def wine(pace: Pace) -> list[Section]:
    """ElasticNet on 11 columns: one row, then 1,000 rows a request, then the parts of a request's time."""
    model = models.get("wine")
    with compared(model, with_echo=True) as found:
        one = {connections: loaded(found, model.one, connections, pace) for connections in (1, 32)}
        peers = {name: found[name] for name in PEERS}
        thousand = {connections: loaded(peers, model.thousand, connections, pace) for connections in (1, 8, 32)}
        whole = parts(found["Legion"], model.one, pace.timed_requests)
        whole_thousand = parts(found["Legion"], model.thousand, pace.timed_requests)
    return [_one_row(one), _thousand_rows(thousand), _parts({"one row": whole, "1,000 rows": whole_thousand})]


def _one_row(rates: dict[int, dict[str, Rate]]) -> Section:
    single, many = rates[1], rates[32]
    p50 = {name: rate.p50_ms for name, rate in single.items()}
    share = {name: many[name].per_second for name in ("Legion", "echo")}
    figures = (
        throughput("wine.32.rate", "32 connections", many, 100),
        latency("wine.1.p50", "1 connection, p50", single, 10),
        Figure(
            "wine.1.p50.fastapi",
            "1 connection, p50",
            "ms",
            {name: p50[name] for name in ("FastAPI", "Legion")},
            over(p50["FastAPI"], p50["Legion"]),
            1,
            "FastAPI / Legion",
        ),
        throughput("wine.1.rate", "1 connection", single),
        Figure("wine.32.echo", "32 connections", "req/s", share, over(*share.values()), None, "Legion / echo"),
    )
    notes = (
        f"The echo server is the same HTTP stack with no model behind it; the aim for Legion's share of it is {AIM}.",
        "mlflow, FastAPI and echo are one process each; Legion is a gateway and one worker.",
    )
    return Section("ElasticNet, 11 columns, one row a request", COLUMNS, figures, notes)


def _thousand_rows(rates: dict[int, dict[str, Rate]]) -> Section:
    figures = (
        throughput("thousand.32.rate", "32 connections", rates[32], 10),
        throughput("thousand.8.rate", "8 connections", rates[8]),
        throughput("thousand.1.rate", "1 connection", rates[1]),
        latency("thousand.1.p50", "1 connection, p50", rates[1]),
    )
    notes = ("The target is held at 32 connections, as for one row.",)
    return Section("ElasticNet, 11 columns, 1,000 rows a request", PEERS, figures, notes)


def _parts(found: dict[str, dict[str, float | None]]) -> Section:
    figures = tuple(Figure(f"parts.{what}", what, "ms", values) for what, values in found.items())
    notes = (
        "Means at one connection. The first four are what Server-Timing says; the rest is what a client on the same "
        "machine measures beyond them: both ends' sockets, HTTP, and the frames between gateway and worker.",
    )
    return Section("Where a request's time goes in Legion", (*PARTS, "rest", "whole"), figures, notes)


def wide(pace: Pace) -> list[Section]:
    """ElasticNet on 600 columns, one row a request."""
    return [_other("wide", "ElasticNet, 600 columns, one row a request", 20, pace)]


def forest(pace: Pace) -> list[Section]:
    """A forest of 100 trees, one row a request."""
    return [_other("forest", "Random forest of 100 trees, 11 columns, one row a request", 40, pace)]


def _other(name: str, title: str, target: float, pace: Pace) -> Section:
    model = models.get(name)
    with compared(model) as found:
        single = loaded(found, model.one, 1, pace)
        many = loaded(found, model.one, 32, pace)
    figures = (
        throughput(f"{name}.32.rate", "32 connections", many, target),
        throughput(f"{name}.1.rate", "1 connection", single),
        latency(f"{name}.1.p50", "1 connection, p50", single),
    )
    return Section(title, PEERS, figures)
