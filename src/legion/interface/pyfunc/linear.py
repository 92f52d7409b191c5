"""Linear models as their numbers: what they compute, without the estimator that holds them.

By exact class: what a subclass adds could show on other rows than the golden ones.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional, Tuple

import numpy as np

Predict = Callable[[Any], Any]

# Prediction is `X @ coef_.T + intercept_` and nothing else.
_REGRESSORS = frozenset(
    {
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
    }
)
# Prediction is the class where that is largest, or of two the second where it is above 0.
_CLASSIFIERS = frozenset(
    {
        "LogisticRegression",
        "LogisticRegressionCV",
        "RidgeClassifier",
        "RidgeClassifierCV",
        "SGDClassifier",
        "Perceptron",
        "PassiveAggressiveClassifier",
    }
)
_FLOATS = ("float32", "float64")
OPERATIONS = {"subtract": np.subtract, "divide": np.divide, "multiply": np.multiply, "add": np.add}


class Numbers(NamedTuple):
    """All that a linear model's prediction depends on.

    `coefficients` are of shape (columns,) or (targets, columns); `intercept` is one number or one a target; `classes`
    is None for a regressor; `scaling` holds names of OPERATIONS with an array of shape (columns,) each, in their order.
    """

    coefficients: Any
    intercept: Any
    classes: Optional[Any] = None
    scaling: Tuple[Tuple[str, Any], ...] = ()


def numbers_of(estimator: Any, method: str) -> Optional[Numbers]:
    """The numbers of a scikit-learn estimator, or of a pipeline of scalers and one; None where they are not all."""
    if method != "predict":
        return None
    scaling: Tuple[Tuple[str, Any], ...] = ()
    if _is(estimator, "pipeline", "Pipeline"):
        for _, step in estimator.steps[:-1]:
            operations = _scaling(step)
            if operations is None:
                return None
            scaling += operations
        estimator = estimator.steps[-1][1]
    regressor = _is(estimator, "linear_model", *_REGRESSORS)
    classifier = _is(estimator, "linear_model", *_CLASSIFIERS) or _is(estimator, "svm", "LinearSVC")
    if not (regressor or classifier):
        return None
    binarizer = getattr(estimator, "_label_binarizer", None)
    if classifier and str(getattr(binarizer, "y_type_", "")).startswith("multilabel"):
        return None
    classes = np.asarray(estimator.classes_) if classifier else None
    numbers = Numbers(np.asarray(estimator.coef_), estimator.intercept_, classes, scaling)
    return numbers if fits(numbers) else None


def _is(step: Any, module: str, *names: str) -> bool:
    kind = type(step)
    return kind.__module__.split(".")[:2] == ["sklearn", module] and kind.__name__ in names


def _scaling(step: Any) -> Optional[Tuple[Tuple[str, Any], ...]]:
    """What a scaler does to each column, or None where that is not known."""
    if step == "passthrough" or step is None:
        return ()
    found: Tuple[Tuple[str, Any], ...]
    if _is(step, "preprocessing", "StandardScaler"):
        found = (("subtract", step.mean_),) if step.with_mean else ()
        found += (("divide", step.scale_),) if step.with_std else ()
    elif _is(step, "preprocessing", "MinMaxScaler") and not getattr(step, "clip", False):
        found = (("multiply", step.scale_), ("add", step.min_))
    else:
        return None
    return tuple((operation, np.asarray(values, dtype=np.float64)) for operation, values in found)


def fits(numbers: Numbers) -> bool:
    """Whether these are finite numbers of types and shapes that belong together."""
    coefficients, intercept, classes, scaling = numbers
    if str(coefficients.dtype) not in _FLOATS or coefficients.ndim not in (1, 2) or not coefficients.size:
        return False
    kind = getattr(intercept, "dtype", None)
    if str(kind) not in _FLOATS if kind is not None else type(intercept) not in (int, float):
        return False
    targets, width = (1, *coefficients.shape)[-2:]
    if np.shape(intercept) not in ((), (1,), (targets,)) or any(values.shape != (width,) for _, values in scaling):
        return False
    if classes is not None and np.shape(classes) != (max(targets, 2),):
        return False
    return all(np.isfinite(values).all() for values in (coefficients, intercept, *(values for _, values in scaling)))


def predictor(numbers: Numbers, whole: Predict) -> Predict:
    """The product alone: the arithmetic takes 1 µs where checking the input takes 150.

    A function of a block of shape (n, columns); `whole` takes what has no finite answer.
    """
    coefficients, intercept = numbers.coefficients.T, numbers.intercept
    width, classes = coefficients.shape[0], numbers.classes

    def predict(block: Any) -> Any:
        # No rows at all is for the estimator to refuse.
        if block.shape[0] and block.shape[1] == width:
            rows = _scaled(block, numbers.scaling) if numbers.scaling else block
            if rows is not None:
                answer = rows @ coefficients + intercept
                if np.isfinite(answer).all():
                    return answer if classes is None else _decided(answer, classes)
        return whole(block)

    return predict


def _scaled(block: Any, scaling: Tuple[Tuple[str, Any], ...]) -> Optional[Any]:
    """The rows in the doubles that scalers compute in; None for 32 bits, which their versions round differently."""
    if block.dtype == np.float32:
        return None
    rows = np.array(block, dtype=np.float64)
    for operation, values in scaling:
        OPERATIONS[operation](rows, values, out=rows)
    return rows


def _decided(scores: Any, classes: Any) -> Any:
    if scores.ndim == 2 and scores.shape[1] > 1:
        return classes.take(scores.argmax(axis=1))
    return classes.take((scores.reshape(-1) > 0).astype(np.intp))
