"""A slow model that merges, under closed-loop load: does each batch hold every caller's request?

Callers who send their next request when the last one is answered come back together. A gateway that starts with the
first of them leaves the others to wait for that small batch, and may go on like this forever.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import models
import msgspec
import numpy as np
import servers
from figures import Figure, Section, over
from load import rounds
from models import BIN, WORK
from pace import Pace
from servers import Server

CONNECTIONS = (8, 32)
_SHARE = 0.85  # of the ideal, at least
_BATCH_MS, _ROW_MS = 20.0, 0.02
_BARE_CALLS = 20
_MODEL = f"""\
import time


def init():
    return "matrix"


def predict_on_matrix(input_matrix, provided_columns_names=None):
    time.sleep({_BATCH_MS / 1e3} + {_ROW_MS / 1e3} * len(input_matrix))
    return input_matrix * 2.0, ["doubled"]


def get_info():
    number = lambda name: {{"name": name, "type": "number"}}
    return [number("a")], [number("doubled")]
"""
_BATCHES = re.compile(r"^legion_batch_requests_(sum|count)\b[^\n]* ([0-9.e+]+)$", re.MULTILINE)


class Run(msgspec.Struct, frozen=True):
    """Requests per second with so many connections: if every batch held all of them, and as served; the mean batch."""

    connections: int
    ideal: float
    served: float | None
    batch: float


def convoy(pace: Pace) -> list[Section]:
    """One worker; the ideal is the model's own time for a batch of all connections, measured without a server."""
    home = WORK / "convoy"
    models.once(home, "pack convoy", models.legion_stamp() + models.stamp([Path(__file__)]), _pack)
    body = home / "one.json"
    body.write_text(json.dumps(_request(1.0)))
    port = servers.free_port()
    with servers.running("convoy", servers.legion([str(home / "convoy.zip")], port), port) as server:
        return [section([_run(server, body, connections, pace) for connections in CONNECTIONS])]


def _request(value: float) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a"], "data": [[value]]}}


def _pack(home: Path) -> None:
    folder = models.gppi(home / "convoy", _MODEL)
    # Different rows with different answers, which prove that requests may be merged.
    golden = home / "requests.json"
    golden.write_text(json.dumps([_request(1.0), _request(2.0)]))
    options = ["--golden", str(golden), "--env", "local", "-o", str(home / "convoy.zip")]
    models.run([str(BIN / "legion"), "pack", str(folder), *options])


def _run(server: Server, body: Path, connections: int, pace: Pace) -> Run:
    ideal = connections / _bare(connections)
    requests, batches = _counted(server)
    rate = rounds({"Legion": server.target(body)}, connections, count=pace.rounds, seconds=pace.seconds)["Legion"]
    more_requests, more_batches = _counted(server)
    return Run(connections, ideal, rate.per_second, (more_requests - requests) / (more_batches - batches))


def _bare(rows: int) -> float:
    """Seconds that the model itself takes for a batch."""
    namespace: dict[str, Any] = {}
    exec(_MODEL, namespace)
    predict = namespace["predict_on_matrix"]
    matrix = np.ones((rows, 1))
    times = []
    for _ in range(_BARE_CALLS):
        began = time.perf_counter()
        predict(matrix)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _counted(server: Server) -> tuple[float, float]:
    """Requests and batches so far, as the gateway's metrics count them."""
    _, text = servers.ask(server.port, "GET", "/metrics")
    found = {name: float(value) for name, value in _BATCHES.findall(text.decode())}
    if set(found) != {"sum", "count"}:
        sys.exit("the gateway's metrics do not say how large its batches are")
    return found["sum"], found["count"]


def section(runs: list[Run]) -> Section:
    """Shares of the ideal, and how large the batches were."""
    shares = tuple(
        Figure(
            f"convoy.{run.connections}",
            f"{run.connections} connections",
            "req/s",
            {"full batches": run.ideal, "Legion": run.served},
            over(run.served, run.ideal),
            _SHARE,
            "Legion / full batches",
        )
        for run in runs
    )
    batches = tuple(
        Figure(
            f"convoy.{run.connections}.batch",
            f"{run.connections} connections, mean batch",
            "requests",
            {"full batches": float(run.connections), "Legion": run.batch},
        )
        for run in runs
    )
    notes = (
        f"A call of the model takes {_BATCH_MS:g} ms and {_ROW_MS:g} ms a row, and requests may be merged. With full "
        "batches every call would hold the requests of all connections; its time is measured without a server.",
    )
    return Section("A slow model that merges", ("full batches", "Legion"), (*shares, *batches), notes)
