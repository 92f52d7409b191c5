"""Commands from start to end: the first answer of a server, the help, a file of predictions, a big artifact."""

from __future__ import annotations

import csv
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import models
import servers
from figures import Figure, Section, over
from memory import MB, Peak
from models import BIN, WORK, Model, environment
from pace import Pace
from servers import alike, flat

LEGION = str(BIN / "legion")
MLFLOW = str(BIN / "mlflow")
HELP_LIMIT = 0.25  # seconds
MEMORY_LIMIT = 300.0  # MB
GROWTH_LIMIT = 1.1
HELP_RUNS = 10


def in_turns(sides: dict[str, Callable[[], float]], count: int) -> dict[str, float | None]:
    """Medians of what each side returns when all are called in turn, `count` times."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(count):
        for name, side in sides.items():
            found[name].append(side())
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(command: list[str]) -> float:
    """How long a command takes; ends the run where it fails."""
    began = time.perf_counter()
    models.run(command)
    return time.perf_counter() - began


def start(pace: Pace) -> list[Section]:
    """Both servers to their first prediction, and the help. The model is unpacked and every module compiled before."""
    model = models.get("wine")
    sides = {
        "mlflow": lambda: _first_answer("start-mlflow", servers.mlflow, model),
        "Legion": lambda: _first_answer("start-Legion", _serve, model),
    }
    in_turns(sides, 1)
    first = in_turns(sides, pace.repeats)
    help_sides = {"mlflow": lambda: seconds([MLFLOW, "--help"]), "Legion": lambda: seconds([LEGION, "--help"])}
    shown = in_turns(help_sides, 1) | in_turns({"Legion": help_sides["Legion"]}, HELP_RUNS)
    figures = (
        Figure("start.first", "serve, to the first answer", "s", first, _times(first), 3, "mlflow / Legion"),
        Figure("start.help", "--help", "s", shown, over(HELP_LIMIT, shown["Legion"]), 1, f"{HELP_LIMIT} s / Legion"),
    )
    return [Section("Starting", ("mlflow", "Legion"), figures, ("Both serve from the environment they run in.",))]


def _serve(model: Model, port: int) -> list[str]:
    return servers.legion([str(model.artifact)], port)


def _first_answer(name: str, command: Callable[[Model, int], list[str]], model: Model) -> float:
    port, body = servers.free_port(), model.one.read_bytes()
    began = time.perf_counter()
    with servers.started(name, command(model, port)) as process:
        servers.until_answered(process, name, port, "POST", "/invocations", body)
        return time.perf_counter() - began


def _times(values: dict[str, float | None], other: str = "mlflow") -> float | None:
    """How many times Legion's time the other's is."""
    return over(values[other], values["Legion"])


def predict(pace: Pace) -> list[Section]:
    """A CSV file of wines through `mlflow models predict` and `legion predict`; then ten times the rows."""
    model, rows, more = models.get("wine"), models.wine_rows(pace.rows), models.wine_rows(pace.more_rows)
    theirs, ours = WORK / "predicted.json", WORK / "predicted.csv"
    mlflow_options = ["-t", "csv", "--env-manager", "local", "-i", str(rows), "-o", str(theirs)]
    mlflow = [MLFLOW, "models", "predict", "-m", str(model.folder), *mlflow_options]
    peaks: dict[str, list[float | None]] = {"mlflow": [], "Legion": [], "more": []}
    sides = {
        "mlflow": lambda: _watched(mlflow, peaks["mlflow"]),
        "Legion": lambda: _watched(_predict(model, rows, ours), peaks["Legion"]),
    }
    took = in_turns(sides, pace.repeats)
    _check_predictions(theirs, ours)
    more_took = _watched(_predict(model, more, WORK / "predicted-more.csv"), peaks["more"])
    held = {name: _highest(found) for name, found in peaks.items()}
    once, ten = f"{pace.rows:,} rows", f"{pace.more_rows:,} rows"
    memory = {name: held[name] for name in ("mlflow", "Legion")}
    growth = over(held["more"], held["Legion"])
    figures = (
        Figure("predict.time", f"{once}, time", "s", took, _times(took), 3, "mlflow / Legion"),
        Figure(
            "predict.memory",
            f"{once}, peak memory",
            "MB",
            memory,
            over(MEMORY_LIMIT, memory["Legion"]),
            1,
            f"{MEMORY_LIMIT:.0f} MB / Legion",
        ),
        Figure("predict.more.time", f"{ten}, time", "s", {"Legion": more_took}),
        Figure(
            "predict.more.memory",
            f"{ten}, peak memory",
            "MB",
            {"Legion": held["more"]},
            over(GROWTH_LIMIT, growth),
            1,
            f"{GROWTH_LIMIT} / growth",
        ),
    )
    notes = ("Peak memory is the sum of each process's own peak, parent and worker together.",)
    return [Section("Predicting a CSV file of wines", ("mlflow", "Legion"), figures, notes)]


def _predict(model: Model, rows: Path, out: Path) -> list[str]:
    return [LEGION, "predict", str(model.artifact), "-i", str(rows), "-o", str(out), "--env", "local"]


def _watched(command: list[str], peaks: list[float | None]) -> float:
    """Run a command; its seconds, and its family's peak memory appended to `peaks`."""
    log = WORK / "logs" / "watched.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as words:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=words, stderr=words, env=environment(), cwd=WORK)
        with Peak(process.pid) as peak:
            code = process.wait()
        took = time.perf_counter() - began
    if code:
        sys.exit(f"{Path(command[0]).name} {command[1]} failed: {log.read_text()[-1500:]}")
    peaks.append(peak.mb)
    return took


def _highest(found: Sequence[float | None]) -> float | None:
    known = [value for value in found if value is not None]
    return max(known) if known else None


def _check_predictions(theirs: Path, ours: Path) -> None:
    """Ends the run unless both files hold the same predictions in the same order."""
    expected = flat(json.loads(theirs.read_bytes())["predictions"])
    with ours.open(newline="", encoding="utf-8") as file:
        found = [float(row[-1]) for row in itertools.islice(csv.reader(file), 1, None)]
    if not alike(expected, found):
        sys.exit("mlflow and Legion predict the same file differently; nothing is compared")


def pack(pace: Pace) -> list[Section]:
    """A big model as an artifact, and the same folder by Python's own `zipfile`, at its default level."""
    folder = models.weights(pace.megabytes)
    zipped, packed = WORK / "zipfile.zip", WORK / "packed.zip"
    sides = {
        "zipfile": lambda: seconds([sys.executable, "-m", "zipfile", "-c", str(zipped), str(folder)]),
        "Legion": lambda: seconds([LEGION, "pack", str(folder), "-o", str(packed)]),
    }
    # zipfile takes long, and alike every time: once is enough.
    took = in_turns(sides, 1) | in_turns({"Legion": sides["Legion"]}, pace.repeats)
    sizes = {"zipfile": zipped.stat().st_size / MB, "Legion": packed.stat().st_size / MB}
    for path in (zipped, packed):
        path.unlink()
    smaller = over(sizes["zipfile"], sizes["Legion"])
    figures = (
        Figure("pack.time", "time", "s", took, _times(took, "zipfile"), 8, "zipfile / Legion"),
        Figure("pack.size", "size", "MB", dict(sizes), smaller, None, "zipfile / Legion"),
    )
    notes = ("float64 values of 32-bit precision. Legion's time includes syncing the file to the disk.",)
    return [Section(f"Packing a model of {pace.megabytes} MB", ("zipfile", "Legion"), figures, notes)]
