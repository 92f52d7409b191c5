"""What is proven before a worker is ready, against the golden answers of legion.golden.json.

- shortcut: a cheaper path is taken only if it reproduces the answers that the reference path gave when
  the model was packed;
- merge: requests are merged only if predict(a ++ b) == predict(a) ++ predict(b), in either order, twice.

The golden requests warm the model up on the way.
"""

from __future__ import annotations

import math
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import msgspec
import numpy as np

from legion.errors import VerificationError, WorkerError
from legion.interface import result
from legion.interface.model import Model, StreamingModel
from legion.interface.table import Table, concatenate
from legion.wire import MLFLOW, Call, Linear, Plan, Report
from legion.worker.batch import Answerer
from legion.worker.codecs.request import Request

# Sums in another order may differ in their last bits, no more; the second is for 32-bit models.
_RELATIVE = 1e-9
_RELATIVE_32 = 1e-5
# Below these, whole numbers are further apart than rounding in as many bits reaches.
_EXACT = {_RELATIVE: 2.0**50, _RELATIVE_32: 2.0**23}


class _Case(msgspec.Struct):
    request: msgspec.Raw
    response: Any


class _Golden(msgspec.Struct):
    cases: List[_Case]
    deterministic: bool = True


class Proven(NamedTuple):
    """A model that is ready, whether it merges, and the report that says so."""

    model: Model
    merges: bool
    report: Report


def prove(plan: Plan) -> Proven:
    """Load the model by the cheapest path that holds. Raises WorkerError or VerificationError."""
    golden = _read_golden(plan)
    notes: List[str] = []
    model = _shortcut(plan, golden, notes) or _reference(plan, golden)
    rows = _golden_tables(model, golden)
    merges = not plan.reference and golden is not None and golden.deterministic and _merges(model, rows, notes)
    report = Report(
        signature=model.signature,
        mode=model.mode,
        path=model.path,
        merges=merges,
        notes=tuple(notes),
        openapi=model.describe(),
        mlflow_version=_installed("mlflow"),
        python_version=platform.python_version(),
        golden_rows=sum(table.n for table in rows),
        linear=_linear(plan, model),
        streams=isinstance(model, StreamingModel),
    )
    return Proven(model, merges, report)


def _shortcut(plan: Plan, golden: Optional[_Golden], notes: List[str]) -> Optional[Model]:
    if plan.reference or plan.interface != "pyfunc" or golden is None or not golden.deterministic:
        return None
    from legion.interface.pyfunc import native  # noqa: PLC0415

    try:
        for model in native.candidates(plan):
            fault = _differs(model, golden)
            if fault is None:
                return model
            notes.append(f"no {model.path} shortcut: {fault}")
    except Exception as error:  # whatever the native model raises, the reference path is there
        notes.append(f"no shortcut: the native model raised {type(error).__name__}: {error}")
    return None


def _reference(plan: Plan, golden: Optional[_Golden]) -> Model:
    model = _LOADERS[plan.interface](plan)
    fault = None if golden is None or plan.reference else _differs(model, golden)
    if fault is not None:
        raise VerificationError(
            f"it does not give its golden answers here ({fault}); pack it again in the environment it is served in"
        )
    return model


def _load_pyfunc(plan: Plan) -> Model:
    try:
        from legion.interface.pyfunc import pyfunc_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise WorkerError(
            f"the model needs {error.name}, which its environment lacks; serve it with --env uv or install it"
        ) from None
    model: Model = pyfunc_model.load(plan)
    if plan.reference:
        # The reference answers are MLflow's own, from the body to the answer.
        model.mode = "whole"
    return model


def _linear(plan: Plan, model: Model) -> Optional[Linear]:
    """What the artifact is to keep of a linear model, asked for when it is packed."""
    if not plan.reference or plan.interface != "pyfunc":
        return None
    from legion.interface.pyfunc import native, pyfunc_model  # noqa: PLC0415

    return native.described(plan, lambda: pyfunc_model.raw(model))


def _load_gppi(plan: Plan) -> Model:
    from legion.interface.gppi import module  # noqa: PLC0415

    return module.load(plan)


def _load_gjpi(plan: Plan) -> Model:
    from legion.interface.java import gjpi  # noqa: PLC0415

    return gjpi.load(plan)


_LOADERS: Dict[str, Callable[[Plan], Model]] = {"pyfunc": _load_pyfunc, "gppi": _load_gppi, "gjpi": _load_gjpi}


def _read_golden(plan: Plan) -> Optional[_Golden]:
    if plan.golden is None:
        return None
    try:
        return msgspec.json.decode(Path(plan.folder, plan.golden).read_bytes(), type=_Golden)
    except (OSError, msgspec.DecodeError) as error:
        raise VerificationError(f"{plan.golden} cannot be read ({error}); pack the model again") from None


def _differs(model: Model, golden: _Golden) -> Optional[str]:
    """None where the model gives every golden answer, else what was different."""
    answerer = Answerer(model, merges=False)
    for number, case in enumerate(golden.cases):
        reply = answerer.answer([Call(MLFLOW, bytes(case.request))])[0]
        if reply.status != 200:
            return f"case {number} was refused: {reply.body[:300].decode('utf-8', 'replace')}"
        answer = msgspec.json.decode(reply.body)
        if not golden.deterministic:
            if _length(answer) != _length(case.response):
                return f"case {number} gave another number of answers"
        elif not same(answer, case.response):
            return f"case {number} gave {str(answer)[:120]}, not {str(case.response)[:120]}"
    return None


def _length(answer: Any) -> Optional[int]:
    predictions = answer.get("predictions") if isinstance(answer, dict) else answer
    return len(predictions) if isinstance(predictions, list) else None


def _golden_tables(model: Model, golden: Optional[_Golden]) -> List[Table]:
    if golden is None or model.mode == "whole":
        return []
    codec = Answerer(model, merges=False).codecs[MLFLOW]
    requests: List[Request] = [codec.decode(Call(MLFLOW, bytes(case.request))) for case in golden.cases]
    return [request.table for request in requests if request.params is None]


def _merges(model: Model, tables: List[Table], notes: List[str]) -> bool:
    pieces = [piece for table in tables for piece in table.pieces()][:64]
    if len({repr((piece.rows, piece.objects, piece.block)) for piece in pieces}) < 2:
        notes.append("requests are not merged: it takes two different golden rows to prove that they may be")
        return False
    singly = [_items(model, piece) for piece in pieces]
    if all(same(items, singly[0]) for items in singly):
        notes.append("requests are not merged: all golden answers are equal, which proves nothing")
        return False
    for order in (pieces, pieces[::-1], pieces):
        merged = _items(model, concatenate(order))
        expected = singly if order is pieces else singly[::-1]
        flat = [item for items in expected for item in (items if isinstance(items, list) else [None, None])]
        if not isinstance(merged, list) or len(merged) != len(order) or not same(merged, flat):
            notes.append("requests are not merged: the rows' answers change when they are predicted together")
            return False
    return True


def _items(model: Model, table: Table) -> Any:
    return result.items_of(model.predict(table, None))


def same(one: Any, other: Any) -> bool:
    """Equal, numbers within a relative error of 1e-9 (1e-5 for those that a 32-bit float holds)."""
    if isinstance(one, float) or isinstance(other, float):
        return _numbers(one) and _numbers(other) and _close(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _numbers(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _close(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    tolerance = _RELATIVE_32 if _in_32_bits(one) and _in_32_bits(other) else _RELATIVE
    if _whole(one) and _whole(other) and abs(one) < _EXACT[tolerance]:
        # Numbers of rows, classes and the like; rounding does not lead from one to the next.
        return one == other
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-12)


def _whole(value: float) -> bool:
    return math.isfinite(value) and value == int(value)


def _in_32_bits(value: float) -> bool:
    with np.errstate(over="ignore"):
        return float(np.float32(value)) == value


def _installed(distribution: str) -> Optional[str]:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
