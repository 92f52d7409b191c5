"""A linear model's numbers, written down and read again, against the estimator that they came from."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn comes with the extra mlflow")

from sklearn import linear_model
from sklearn.base import clone
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC

from legion.interface.pyfunc import linear_file
from legion.interface.pyfunc.sklearn_kernels import lowered

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(120, 4))
Y = X @ [2.0, -3.0, 0.5, 1.25] + 4 + 0.1 * RANDOM.normal(size=120)
TARGETS = np.column_stack([Y, -2 * Y])
KINDS = (
    "LinearRegression",
    "Ridge",
    "RidgeCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "ElasticNet",
    "ElasticNetCV",
    "Lars",
    "LarsCV",
    "HuberRegressor",
    "TheilSenRegressor",
)


def no_estimator(block: Any) -> Any:
    raise AssertionError("the estimator was asked")


def kept(estimator: Any, folder: Path) -> Path:
    """The estimator's file and its numbers in `folder`; the path of the numbers."""
    (folder / "model.pkl").write_bytes(b"the estimator")
    found = linear_file.describe(estimator, "predict", folder / "model.pkl")
    assert found is not None
    (folder / "legion.linear.json").write_bytes(msgspec.json.encode(found))
    return folder / "legion.linear.json"


def read(source: Path, whole: Any = no_estimator, method: str = "predict") -> Any:
    return linear_file.read(source, source.parent / "model.pkl", method, whole)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_of_every_kind_come_back_to_the_bit(kind: str, intercept: bool, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = getattr(linear_model, kind)(fit_intercept=intercept).fit(X, Y)
    answer = read(kept(estimator, tmp_path))
    lower = lowered(estimator, "predict")
    assert lower is not None
    for rows in (RANDOM.normal(size=(50, 4)) * 100, X[:1], np.zeros((2, 4)), np.full((1, 4), -0.0)):
        got, bare, whole = answer(rows), lower(rows), estimator.predict(rows)
        assert (got.dtype, got.shape, got.tobytes()) == (bare.dtype, bare.shape, bare.tobytes())
        assert (got.dtype, got.shape) == (whole.dtype, whole.shape)
        np.testing.assert_allclose(got, whole, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("target", "intercept"), [(Y, True), (Y, False), (TARGETS, True), (TARGETS, False)])
def test_types_and_several_targets_are_kept(target: Any, intercept: bool, dtype: str, tmp_path: Path) -> None:
    rows = X.astype(dtype)
    estimator = LinearRegression(fit_intercept=intercept).fit(rows, target.astype(dtype))
    answer = read(kept(estimator, tmp_path))
    for block in (rows, X, X.astype("int64")):
        got, expected = answer(block), estimator.predict(block)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(got, expected, rtol=1e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e308])
def test_what_has_no_finite_answer_is_the_estimators(odd: float, tmp_path: Path) -> None:
    estimator = ElasticNet(alpha=0.001).fit(X, 5 * Y)
    rows = X[:3].copy()
    rows[1] = odd, -odd, odd, odd
    answer = read(kept(estimator, tmp_path), estimator.predict)
    with np.errstate(all="ignore"):
        assert outcome(answer, rows) == outcome(estimator.predict, rows)
        with pytest.raises(AssertionError, match="the estimator was asked"):
            read(tmp_path / "legion.linear.json")(rows)


def outcome(predict: Any, rows: Any) -> Any:
    try:
        return [repr(round(value, 9)) for value in predict(rows).tolist()]
    except ValueError as refused:
        return str(refused)


@pytest.mark.parametrize("width", [3, 5])
def test_another_number_of_columns_is_the_estimators(width: int, tmp_path: Path) -> None:
    estimator = LinearRegression().fit(X, Y)
    with pytest.raises(ValueError, match=f"X has {width} features"):
        read(kept(estimator, tmp_path), estimator.predict)(np.ones((2, width)))


def test_what_is_not_linear_or_not_finite_is_not_described(tmp_path: Path) -> None:
    class Clipped(LinearRegression):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:
            return np.clip(super().predict(X), 0, 1)

    odd, objects = LinearRegression().fit(X, Y), LinearRegression().fit(X, Y)
    odd.coef_ = odd.coef_ * np.nan
    objects.coef_ = objects.coef_.astype(object)
    path = tmp_path / "model.pkl"
    path.write_bytes(b"")
    others = [
        Clipped().fit(X, Y),
        PoissonRegressor().fit(X, np.abs(Y)),
        odd,
        objects,
    ]
    assert [linear_file.describe(other, "predict", path) for other in others] == [None] * len(others)
    plain = LinearRegression().fit(X, Y)
    assert linear_file.describe(plain, "score", path) is None
    surrogate = LogisticRegression().fit(X, Y > 4)
    surrogate.classes_ = np.array(["a", "\ud800"])
    assert linear_file.describe(surrogate, "predict", path) is None
    mixed = LogisticRegression().fit(X, Y > 4)
    mixed.classes_ = np.array(["a", 1], dtype=object)
    assert linear_file.describe(mixed, "predict", path) is None
    assert linear_file.describe(plain, "predict", tmp_path / "missing") is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": "1"},
        {"estimator": "sha256:0"},
        {"dtype": "object"},
        {"dtype": "int8"},
        {"intercept_dtype": "datetime64[s]"},
        {"coefficients": []},
        {"coefficients": 3},
        {"coefficients": ["a"]},
        {"coefficients": [[1.0, 2.0], [1.0]]},
        {"coefficients": [[[1.0]]]},
        {"coefficients": [None, 1.0]},
        {"intercept": "a"},
        {"intercept": [[1.0]]},
        {"further": 1},
        {"scaling": [["power", [1.0, 1.0, 1.0, 1.0]]]},
        {"scaling": [["add", [1.0]]]},
        {"scaling": [["add", [None, 1.0, 1.0, 1.0]]]},
        {"classes": ["a", "b"]},
        {"classes": ["a"], "classes_dtype": "<U1"},
        {"classes": ["a", "b", "c"], "classes_dtype": "<U1"},
        {"classes": ["aa", "b"], "classes_dtype": "<U1"},
        {"classes": ["a", 1], "classes_dtype": "object"},
        {"classes": [[], {}], "classes_dtype": "object"},
        {"classes": [1, 300], "classes_dtype": "int8"},
        {"classes": [0, 1], "classes_dtype": "datetime64[s]"},
        {"intercept": [1.0, 2.0]},
        {"intercept": None, "intercept_dtype": None},
        {"intercept": {"a": 1}, "intercept_dtype": None},
    ],
    ids=str,
)
def test_a_file_that_says_something_else_is_passed_over(change: dict[str, Any], tmp_path: Path) -> None:
    source = kept(LinearRegression().fit(X, Y), tmp_path)
    source.write_text(json.dumps({**json.loads(source.read_text()), **change}))
    assert read(source) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "\ufeff{}", "[" * 5000])
def test_a_damaged_file_is_passed_over(text: str, tmp_path: Path) -> None:
    source = kept(LinearRegression().fit(X, Y), tmp_path)
    assert read(source) is not None
    source.write_text(text)
    assert read(source) is None


def test_numbers_of_another_estimator_are_passed_over(tmp_path: Path) -> None:
    source = kept(LinearRegression().fit(X, Y), tmp_path)
    assert read(source, method="score") is None
    (tmp_path / "model.pkl").write_bytes(b"another one")
    assert read(source) is None
    (tmp_path / "model.pkl").unlink()
    assert read(source) is None


LABELS = np.digitize(Y, [3, 5])
TEXTS = np.array(["low", "middle", "high"])[LABELS]
CLASSIFIERS = [
    LogisticRegression(),
    linear_model.LogisticRegressionCV(Cs=2, cv=2),
    linear_model.RidgeClassifier(),
    linear_model.RidgeClassifierCV(),
    linear_model.SGDClassifier(random_state=1),
    linear_model.Perceptron(),
    LinearSVC(),
    LinearSVC(fit_intercept=False),
]
SCALERS = {
    "none": (),
    "standard": (StandardScaler(),),
    "no mean": (StandardScaler(with_mean=False),),
    "no scale": (StandardScaler(with_std=False),),
    "neither": (StandardScaler(with_mean=False, with_std=False), "passthrough"),
    "range": (MinMaxScaler((-1, 3)),),
    "both": (StandardScaler(), MinMaxScaler()),
}
ODD = (np.nan, np.inf, -np.inf, 1e308, 1e300, 1e-310)


def agree(predict: Any, whole: Any, columns: int = 4) -> None:
    """The same answer or the same refusal for ordinary rows, odd ones, other types and another width."""
    draw = np.random.default_rng(17)
    blocks = [draw.normal(size=(400, columns)) * 3, X[:1], np.asfortranarray(X), (X * 3).astype("int64")]
    blocks.append(X.astype("float32"))
    for odd in ODD:
        for column in range(columns):
            rows = X[:5].copy()
            rows[2, column] = odd
            blocks.append(rows)
    blocks += [np.ones((2, columns - 1)), np.ones((2, columns + 1))]
    with np.errstate(all="ignore"):
        for block in blocks:
            got, expected = attempt(predict, block), attempt(whole, block)
            if isinstance(expected, str):
                assert got == expected
                continue
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
            else:
                assert got.tolist() == expected.tolist()


def attempt(predict: Any, block: Any) -> Any:
    try:
        return predict(block)
    except ValueError as refused:
        return str(refused)


@pytest.mark.parametrize("target", [Y > 4, LABELS, TEXTS, TEXTS.astype(object), LABELS / 2, LABELS.astype("int8")])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=str)
def test_classifiers_give_the_classes_of_scikit_learn(classifier: Any, target: Any, tmp_path: Path) -> None:
    if target.dtype.kind == "f":
        # Classes may be floats; values between whole numbers would be a regression's.
        target = target * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = clone(classifier).fit(X, target)
    agree(read(kept(estimator, tmp_path), estimator.predict), estimator.predict)
    agree(lowered(estimator, "predict"), estimator.predict)


@pytest.mark.parametrize("last", [ElasticNet(alpha=0.01), LogisticRegression(), LinearRegression()], ids=str)
@pytest.mark.parametrize("scalers", SCALERS)
def test_pipelines_of_scalers_give_what_scikit_learn_gives(scalers: str, last: Any, tmp_path: Path) -> None:
    target = TEXTS if isinstance(last, LogisticRegression) else Y
    # One column that does not vary: scalers divide it by one.
    rows = np.column_stack([X[:, :3], np.full(len(X), 2.5)])
    estimator = make_pipeline(*map(copied, SCALERS[scalers]), clone(last)).fit(rows, target)
    agree(read(kept(estimator, tmp_path), estimator.predict), estimator.predict)
    agree(lowered(estimator, "predict"), estimator.predict)


def copied(step: Any) -> Any:
    return step if isinstance(step, str) else clone(step)


def test_scalers_leave_the_rows_as_they_are(tmp_path: Path) -> None:
    estimator = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)
    rows = X.copy()
    read(kept(estimator, tmp_path))(rows)
    assert (rows == X).all()


MISSING = """
import sys
from pathlib import Path
from legion.interface.pyfunc import native
from legion.signature import Field, Signature
from legion.wire import Plan

folder, missing = sys.argv[1:]
if missing:
    sys.modules[missing] = None
flavors = {
    "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
    "python_function": {"loader_module": "mlflow.sklearn"},
}
inputs = tuple(Field(name, "double") for name in "abcd")
numbers = folder + "/legion.linear.json"
plan = Plan("m", "1", folder, "pyfunc", signature=Signature(inputs), flavors=flavors, linear=numbers)
first = next(native.candidates(plan))
print(first.path, "sklearn" in sys.modules)
"""


@pytest.mark.parametrize("missing", ["", "sklearn", "scipy", "joblib", "cloudpickle"])
def test_without_what_the_estimator_needs_it_is_not_taken(missing: str, tmp_path: Path) -> None:
    kept(LinearRegression().fit(X, Y), tmp_path)
    command = [sys.executable, "-c", MISSING, str(tmp_path), missing]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if missing:
        # It went for the estimator's file, which is none here.
        assert done.returncode == 1, done.stdout
        assert "_load" in done.stderr
    else:
        assert done.stdout == "lowered False\n", done.stderr
