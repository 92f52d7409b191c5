"""The Open Inference Protocol: Legion beside MLServer, the same model, the same body, tensors as JSON."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import mlserver
import models
import msgspec
import servers
from figures import Section
from load import Rate
from models import WORK
from online import latency, loaded, throughput
from pace import Pace
from servers import Server

BATCHING = "MLServer, batching"
# As many as there are connections.
_BATCH = 32
_INFER = "/v2/models/wine/infer"
_READY = "/v2/models/wine/ready"


def open_inference(pace: Pace) -> list[Section]:
    """ElasticNet on 11 columns, one row a request, in one tensor of shape [1, 11]."""
    model = models.get("wine")
    mlserver.install()
    body = _request(model.one, WORK / "tensor.json")
    with ExitStack() as stack:
        found: dict[str, Server] = {}
        for name, batch in (("MLServer", 0), (BATCHING, _BATCH)):
            port = servers.free_port()
            command = mlserver.command(mlserver.folder(model, batch), port)
            found[name] = stack.enter_context(servers.running(name, command, port, _INFER, _READY))
        port = servers.free_port()
        command = servers.legion([str(model.artifact)], port)
        found["Legion"] = stack.enter_context(servers.running("Legion", command, port, _INFER, _READY))
        servers.check_alike(list(found.values()), body, tensor)
        many = loaded(found, body, 32, pace)
        # To wait for a batch that nobody else joins is no way to answer one caller.
        single = loaded({name: found[name] for name in ("MLServer", "Legion")}, body, 1, pace)
    return [_section(many, single)]


def _request(one: Path, path: Path) -> Path:
    """The same row as a tensor of all columns, in their order."""
    rows = json.loads(one.read_bytes())["dataframe_split"]["data"]
    values = [float(value) for row in rows for value in row]
    described = {"name": "row", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": values}
    path.write_text(json.dumps({"inputs": [described]}))
    return path


def tensor(answer: bytes) -> list[float]:
    """The values of an answer's one output, whatever its name and however they are nested."""
    (output,) = msgspec.json.decode(answer)["outputs"]
    return servers.flat(output["data"])


def _section(many: dict[str, Rate], single: dict[str, Rate]) -> Section:
    plain = {name: rate for name, rate in many.items() if name != BATCHING}
    batching = {name: rate for name, rate in many.items() if name != "MLServer"}
    figures = (
        throughput("open_inference.32.rate", "32 connections", plain, 10, other="MLServer"),
        latency("open_inference.1.p50", "1 connection, p50", single, 1, other="MLServer"),
        throughput("open_inference.1.rate", "1 connection", single, other="MLServer"),
        throughput("open_inference.32.batching", "32 connections", batching, other=BATCHING),
    )
    notes = (
        f"MLServer {mlserver.version()} in its own environment, with the same scikit-learn, without access log. Its "
        "scikit-learn runtime serves the same estimator; its MLflow runtime, which would serve the artifact as it is, "
        "goes through pyfunc and is several times slower. It predicts in its one process (parallel_workers 0), which "
        "in trials on 2 cores was faster than 1 worker process, its default, and than 2.",
        f"Batching: max_batch_size {_BATCH}, max_batch_time 1 ms; by default it is off.",
    )
    return Section(
        "Open Inference Protocol, 11 columns, one row a request", ("MLServer", BATCHING, "Legion"), figures, notes
    )
