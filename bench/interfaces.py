"""Other interfaces of Legion's: GJPI beside GPPI, and objects beside rows."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import models
import msgspec
import servers
import wine_interfaces
from figures import Figure, Section, over
from load import Rate
from models import WORK
from online import latency, loaded, throughput
from pace import Pace
from servers import Server

# What calling into Java may cost beyond the same model in Python.
JAVA_LIMIT = 0.2  # ms


def java(pace: Pace) -> list[Section]:
    """The linear wine model of examples/java-wine as GJPI and as GPPI."""
    artifact = wine_interfaces.java()
    if artifact is None:
        print("GJPI is left out: there is no JDK (javac and jar); on Debian: apt install default-jdk-headless\n")
        return []
    body = models.get("wine").one
    with ExitStack() as stack:
        found = _together(stack, {"GPPI": wine_interfaces.linear(), "GJPI": artifact})
        servers.check_alike(list(found.values()), body)
        single = loaded(found, body, 1, pace)
    return [_java_section({name: rate.p50_ms for name, rate in single.items()})]


def _java_section(p50: dict[str, float | None]) -> Section:
    figures = (
        Figure(
            "java.1.p50",
            "1 connection, p50",
            "ms",
            p50,
            within(p50["GPPI"], p50["GJPI"], JAVA_LIMIT),
            1,
            f"GPPI + {JAVA_LIMIT} ms / GJPI",
        ),
    )
    notes = ("The same weights, in Java and by numpy; both are workers of one gateway.",)
    return Section("Java beside Python, linear, 11 columns, one row a request", ("GPPI", "GJPI"), figures, notes)


def within(base: float | None, measured: float | None, limit: float) -> float | None:
    """What may be measured over what is: 1 and more where at most `limit` is added to `base`, less than nothing too."""
    return over(None if base is None else base + limit, measured)


def objects(pace: Pace) -> list[Section]:
    """Objects of a pydantic type beside rows, and FastAPI with the same types written by hand."""
    wine = models.get("wine")
    body = _records(wine.one, WORK / "records.json")
    with ExitStack() as stack:
        port = servers.free_port()
        command = servers.handwritten(wine, port)
        by_hand = stack.enter_context(servers.running("FastAPI", command, port, "/records"))
        made = {"matrix": wine_interfaces.matrix(wine), "objects": wine_interfaces.objects(wine)}
        found = {"FastAPI": by_hand, **_together(stack, made)}
        servers.check_alike(list(found.values()), body)
        many = loaded(found, body, 32, pace)
        single = loaded(found, body, 1, pace)
    return [_objects_section(many, single)]


def _records(one: Path, path: Path) -> Path:
    """The same row in the form dataframe_records."""
    split = json.loads(one.read_bytes())["dataframe_split"]
    records = [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
    path.write_text(json.dumps({"dataframe_records": records}))
    return path


def _objects_section(many: dict[str, Rate], single: dict[str, Rate]) -> Section:
    figures = (
        throughput("objects.32.rate", "32 connections", many, ours="objects", other="FastAPI"),
        throughput("objects.32.matrix", "32 connections", _two(many), ours="objects", other="matrix"),
        latency("objects.1.p50", "1 connection, p50", single, ours="objects", other="FastAPI"),
        latency("objects.1.matrix", "1 connection, p50", _two(single), ours="objects", other="matrix"),
    )
    notes = (
        "All get one object of eleven numbers and predict by scikit-learn on an array. FastAPI and objects check what "
        "comes in and what goes out by the same pydantic types; matrix checks it by the columns it declares.",
        "Both of Legion's are workers of one gateway, served from folders that hold no golden answers: without them it "
        "is not proven that requests may be merged, so each is predicted alone.",
    )
    return Section("GPPI in objects, 11 columns, one row a request", ("FastAPI", "matrix", "objects"), figures, notes)


def _two(rates: dict[str, Rate]) -> dict[str, Rate]:
    return {name: rates[name] for name in ("matrix", "objects")}


def _together(stack: ExitStack, made: dict[str, Path]) -> dict[str, Server]:
    """One gateway with these models, each as a server of its own."""
    port = servers.free_port()
    command = servers.legion([f"{name}={path}" for name, path in made.items()], port)
    gateway = stack.enter_context(servers.running("interfaces", command, port))
    return {name: msgspec.structs.replace(gateway, name=name, path=f"/models/{name}/invocations") for name in made}
