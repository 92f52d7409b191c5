"""Golden answers: what the reference path, plain mlflow.pyfunc, gives to the example requests."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from legion.artifact.golden import Case, Golden
from legion.replica import ask
from legion.toolchain.examples import Request
from legion.wire import MLFLOW, Call, Linear, Plan

_TIMEOUT = 300.0
T = TypeVar("T")


class Answers(NamedTuple):
    """The golden answers, and the numbers of a linear model or None."""

    golden: Golden
    linear: Linear | None


def reference_answers(
    plan: Plan, python: Path, requests: Sequence[Request], say: Callable[[str], None]
) -> Answers | None:
    """Ask the model in two processes; None where it accepts none of the requests.

    Requests that it refuses are left out. `deterministic` is false where the two processes disagree.
    Raises WorkerError where the model cannot be loaded under this interpreter.
    """
    calls = [Call(MLFLOW, json.dumps(request).encode()) for request in requests]

    def answers() -> tuple[Linear | None, list[Any]]:
        report, replies = ask(plan, python, calls, timeout=_TIMEOUT)
        return report.linear, [json.loads(reply.body) if reply.status == 200 else None for reply in replies]

    # Two processes and not two calls: what is drawn when the model is loaded shows only so.
    other_answers = _in_background(answers)
    (linear, first), (other_linear, second) = answers(), other_answers.result()
    cases = [
        (request, one, other)
        for request, one, other in zip(requests, first, second, strict=True)
        if one is not None and other is not None
    ]
    if not cases:
        say("the model refuses its own examples, so the artifact holds no golden answers")
        return None
    golden = Golden(
        cases=tuple(Case(request, one) for request, one, _ in cases),
        deterministic=all(_same(one, other) for _, one, other in cases),
    )
    return Answers(golden, linear if golden.deterministic and linear == other_linear else None)


def _in_background(call: Callable[[], T]) -> Future[T]:
    """The call in a thread that an interrupt need not wait for, as it would for a pool's."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _same(one: Any, other: Any) -> bool:
    """Equal, numbers within a relative error of 1e-9: a forest's threads sum in any order."""
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
