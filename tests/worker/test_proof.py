"""What a worker proves before it is ready: its golden answers, that it may merge, that it may take a shortcut."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from legion import replica, wire
from legion.artifact.mlmodel import read_mlmodel
from legion.errors import VerificationError
from legion.worker.proof import same

PYTHON = Path(sys.executable)
SUM = """
    import itertools, os, time
    import numpy as np
    count = itertools.count()

    def init(): return "matrix"
    def predict_on_matrix(input_matrix, provided_columns_names=None):
        x = np.asarray(input_matrix, dtype=float)
        return %s
    def get_info():
        return [{"name": "a", "type": "number"}, {"name": "b", "type": "number"}], []
"""


def split(*rows: list[float]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a", "b"], "data": [list(row) for row in rows]}}


ROWS = ([1.0, 2.0], [3.0, 5.0], [-1.0, 0.5])
SUMS = [3.0, 8.0, -0.5]


def golden(rows: Any = ROWS, answers: Any = SUMS, **more: Any) -> dict[str, Any]:
    return {"format": 1, "cases": [{"request": split(*rows), "response": {"predictions": answers}}], **more}


@pytest.fixture
def gppi(tmp_path: Path) -> Callable[..., wire.Plan]:
    def write(answer: str, recorded: Any) -> wire.Plan:
        (tmp_path / "entrypoint.py").write_text(textwrap.dedent(SUM % answer))
        name = None
        if recorded is not None:
            name = "legion.golden.json"
            (tmp_path / name).write_text(recorded if isinstance(recorded, str) else json.dumps(recorded))
        return wire.Plan("probe", "1", str(tmp_path), "gppi", golden=name)

    return write


def report(plan: wire.Plan) -> wire.Report:
    return replica.ask(plan, PYTHON, [])[0]


def test_a_model_that_answers_row_for_row_is_merged(gppi: Callable[..., wire.Plan]) -> None:
    found = report(gppi("x.sum(axis=1)", golden()))
    assert (found.merges, found.golden_rows, found.notes) == (True, 3, ())


@pytest.mark.parametrize(
    ("answer", "answers", "why"),
    [
        # The first batch is right, and the rows of one request never show it.
        ("x.sum(axis=1) + (len(x) - 3)", SUMS, "change when they are predicted together"),
        ("(x - x.mean(axis=0)).sum(axis=1)", [0.5, 5.5, -3.0 - 0.0], None),
        ("sorted(x.sum(axis=1))", sorted(SUMS), None),
        ("x.sum(axis=1)[::-1]", SUMS[::-1], None),
        ("np.cumsum(x.sum(axis=1))", [3.0, 11.0, 10.5], None),
        ("x.sum(axis=1) + (next(count) > 4)", SUMS, None),
    ],
)
def test_a_model_that_looks_at_other_rows_is_not_merged(
    gppi: Callable[..., wire.Plan], answer: str, answers: list[float], why: str | None
) -> None:
    if "mean" in answer:
        x = np.array(ROWS)
        answers = (x - x.mean(axis=0)).sum(axis=1).tolist()
    found = report(gppi(answer, golden(answers=answers)))
    assert not found.merges
    assert (why or "not merged") in " ".join(found.notes)


def test_whole_numbers_are_told_apart_however_large() -> None:
    assert not same(1e6, 1e6 + 1)
    assert not same([2.0**40], [2.0**40 + 1])
    assert same(0.1 + 0.2, 0.3)
    assert same(float(np.float32(1 / 3)), float(np.nextafter(np.float32(1 / 3), np.float32(1))))
    assert not same(1 / 3, 1 / 3 + 1e-7)
    assert same(math.nan, math.nan)
    assert not same(math.nan, 0.0)
    assert same(1e300 * 1e10, 1e300 * 1e10)
    assert same(5, 5.0)
    assert not same(True, 1.0)
    assert not same(1, True)
    assert same({"a": [1.0, "x", None]}, {"a": [1.0, "x", None]})
    assert not same({"a": 1.0}, {"b": 1.0})
    assert not same([1.0], [1.0, 2.0])
    assert not same("1.0", 1.0)


def test_a_model_that_forgets_a_row_when_merged_is_not_merged(gppi: Callable[..., wire.Plan]) -> None:
    found = report(gppi("x.sum(axis=1) if len(x) < 3 else x.sum(axis=1)[:0]", golden(ROWS[:2], SUMS[:2])))
    assert found.merges, "two rows cannot show it"
    with pytest.raises(VerificationError, match="golden answers"):
        report(gppi("x.sum(axis=1) if len(x) < 3 else x.sum(axis=1)[:0]", golden()))


@pytest.mark.parametrize("rows", [ROWS[:1], (ROWS[0], ROWS[0])])
def test_one_row_proves_nothing(gppi: Callable[..., wire.Plan], rows: Any) -> None:
    found = report(gppi("x.sum(axis=1)", golden(rows, [3.0] * len(rows))))
    assert not found.merges
    assert "two different golden rows" in found.notes[0]


def test_without_golden_answers_nothing_is_merged(gppi: Callable[..., wire.Plan]) -> None:
    assert not report(gppi("x.sum(axis=1)", None)).merges


def test_a_model_that_was_not_deterministic_is_not_merged(gppi: Callable[..., wire.Plan]) -> None:
    assert not report(gppi("x.sum(axis=1) + time.time()", golden(deterministic=False))).merges
    with pytest.raises(VerificationError, match="another number of answers"):
        report(gppi("x.sum(axis=1)", golden(answers=[1.0], deterministic=False)))


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        (golden(answers=[3.0, 8.0, 0.5]), "does not give its golden answers here"),
        (golden(answers=[3.0, 8.0]), "does not give its golden answers here"),
        (golden(rows=([1.0],), answers=[1.0]), "was refused"),
        ("{", "cannot be read"),
        ('{"cases": [{"request": 5}]}', "cannot be read"),
    ],
)
def test_wrong_golden_answers_are_refused(gppi: Callable[..., wire.Plan], recorded: Any, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        report(gppi("x.sum(axis=1)", recorded))


@pytest.fixture
def sklearn_plan(tmp_path: Path) -> Callable[..., wire.Plan]:
    def save(model: Any, X: pd.DataFrame, recorded: Any = None, **options: Any) -> wire.Plan:
        folder = tmp_path / "model"
        signature = infer_signature(X, model.predict(X))
        mlflow.sklearn.save_model(model, folder, signature=signature, pip_requirements=[], **options)
        mlmodel = read_mlmodel(folder)
        flavors, fields = mlmodel.flavors, mlmodel.signature
        plan = wire.Plan("probe", "1", str(folder), "pyfunc", signature=fields, flavors=flavors, reference=True)
        request = {"dataframe_split": {"columns": list(X), "data": X[:4].to_numpy().tolist()}}
        _, replies = replica.ask(plan, PYTHON, [wire.Call(wire.MLFLOW, json.dumps(request).encode())])
        answer = json.loads(replies[0].body) if recorded is None else recorded
        (folder / "legion.golden.json").write_text(json.dumps({"cases": [{"request": request, "response": answer}]}))
        return wire.Plan(
            "probe", "1", str(folder), "pyfunc", signature=fields, flavors=flavors, golden="legion.golden.json"
        )

    return save


NUMBERS = pd.DataFrame(np.random.default_rng(1).normal(size=(20, 2)), columns=["a", "b"])


@pytest.mark.slow
def test_the_shortcut_is_taken_where_it_gives_the_same(sklearn_plan: Callable[..., wire.Plan]) -> None:
    found = report(sklearn_plan(LinearRegression().fit(NUMBERS, NUMBERS.a), NUMBERS))
    assert (found.path, found.merges) == ("lowered", True)


@pytest.mark.slow
def test_no_shortcut_where_the_golden_answers_are_others(sklearn_plan: Callable[..., wire.Plan]) -> None:
    model = LinearRegression().fit(NUMBERS, NUMBERS.a)
    with pytest.raises(VerificationError, match="does not give its golden answers here"):
        report(sklearn_plan(model, NUMBERS, {"predictions": [1.0, 2.0, 3.0, 4.0]}))


class NamesOnly(LinearRegression):  # type: ignore[misc]
    """Answers otherwise when it is given no DataFrame."""

    def predict(self, X: Any) -> Any:
        """Off by one on arrays."""
        return super().predict(np.asarray(X)) + (0 if hasattr(X, "columns") else 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_no_shortcut_where_it_would_differ(sklearn_plan: Callable[..., wire.Plan]) -> None:
    # The worker cannot import this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    model = NamesOnly().fit(NUMBERS, NUMBERS.a)
    found = report(sklearn_plan(model, NUMBERS, serialization_format="cloudpickle"))
    assert (found.path, found.merges) == ("reference", True)
    assert "shortcut: case 0 gave" in found.notes[0]
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.slow
def test_no_shortcut_where_the_native_model_raises(sklearn_plan: Callable[..., wire.Plan]) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline

    steps = ColumnTransformer([("scale", StandardScaler(), ["a"]), ("same", FunctionTransformer(), ["b"])])
    model = make_pipeline(steps, LinearRegression()).fit(NUMBERS, NUMBERS.a)
    found = report(sklearn_plan(model, NUMBERS, serialization_format="cloudpickle"))
    assert (found.path, found.merges) == ("reference", True)
    assert "no native shortcut: " in found.notes[0]
