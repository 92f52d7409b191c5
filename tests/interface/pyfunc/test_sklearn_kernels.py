"""The bare computations against the estimators themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn comes with the extra mlflow")

from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, PoissonRegressor, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import SVC

from legion.interface.pyfunc.sklearn_kernels import lowered

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(200, 5))
Y = X @ RANDOM.normal(size=5) + 0.1 * RANDOM.normal(size=200)
CLASSES = np.array(["low", "middle", "high"])[np.digitize(Y, [-1, 1])]


@pytest.mark.parametrize(
    ("estimator", "target", "method"),
    [
        (ElasticNet(alpha=0.1), Y, "predict"),
        (LinearRegression(), np.column_stack([Y, -Y]), "predict"),
        (RandomForestRegressor(20, random_state=1), Y, "predict"),
        (ExtraTreesRegressor(20, random_state=1), Y, "predict"),
        (RandomForestClassifier(20, random_state=1), CLASSES, "predict"),
        (RandomForestClassifier(20, random_state=1), CLASSES, "predict_proba"),
    ],
)
def test_the_same_numbers(estimator: Any, target: Any, method: str) -> None:
    estimator.fit(X, target)
    bare, whole = lowered(estimator, method), getattr(estimator, method)
    assert bare is not None
    rows = RANDOM.normal(size=(300, 5)) * 3
    got, expected = bare(rows), whole(rows)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    else:
        assert (got == expected).all()
    assert (bare(rows[:1]) == got[:1]).all() or np.allclose(bare(rows[:1]), got[:1], rtol=1e-12)


# 1e300 is more than rounding can scale, and more than a forest's 32-bit floats hold.
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_left_to_the_estimator(odd: float) -> None:
    rows = X[:3].copy()
    rows[1, 2] = odd
    forest = RandomForestRegressor(5, random_state=1).fit(X, Y)
    for estimator in (ElasticNet(alpha=0.01).fit(X, Y), forest):
        bare = lowered(estimator, "predict")
        assert bare is not None
        assert _outcome(bare, rows) == _outcome(estimator.predict, rows)


def _outcome(predict: Callable[[Any], Any], rows: Any) -> Any:
    """The answer, or the words of the refusal."""
    try:
        return np.round(predict(rows), 9).tolist()
    except ValueError as refused:
        return str(refused)


def test_another_number_of_columns_is_left_to_the_estimator() -> None:
    bare = lowered(LinearRegression().fit(X, Y), "predict")
    assert bare is not None
    with pytest.raises(ValueError, match="features"):
        bare(X[:, :4])


def test_what_computes_something_else_is_not_lowered() -> None:
    class Clipped(LinearRegression):  # type: ignore[misc]
        def predict(self, rows: Any) -> Any:
            return np.clip(super().predict(rows), 0, 1)

    others = [
        (Clipped().fit(X, Y), "predict"),
        (PoissonRegressor().fit(X, np.abs(Y)), "predict"),
        (LogisticRegression().fit(X, CLASSES), "predict_proba"),
        (SVC(kernel="linear").fit(X, CLASSES), "predict"),
        (RidgeClassifier().fit(X, np.column_stack([Y > 0, Y > 1])), "predict"),
        (make_pipeline(PolynomialFeatures(), LinearRegression()).fit(X, Y), "predict"),
        (make_pipeline(MinMaxScaler(clip=True), LinearRegression()).fit(X, Y), "predict"),
        (make_pipeline(RobustScaler(), LinearRegression()).fit(X, Y), "predict"),
        (make_pipeline(StandardScaler(), PoissonRegressor()).fit(X, np.abs(Y)), "predict"),
        (make_pipeline(StandardScaler(), LogisticRegression()).fit(X, CLASSES), "predict_proba"),
        (RandomForestRegressor(3).fit(X, np.column_stack([Y, Y])), "predict"),
        (LinearRegression().fit(X, Y), "score"),
    ]
    assert [lowered(*other) for other in others] == [None] * len(others)
