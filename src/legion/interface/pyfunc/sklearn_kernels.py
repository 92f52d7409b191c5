"""What some scikit-learn estimators compute, without what they check and schedule around it.

By exact class: what a subclass adds could show on other rows than the golden ones. Each returns a function of a
block of shape (n, columns), which hands rows that are not all finite to the estimator, to be refused or
answered in its own way.
"""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from legion.interface.pyfunc.linear import Predict, numbers_of, predictor

# Prediction is the mean of the trees', added up in their order.
_FOREST_REGRESSORS = frozenset({"RandomForestRegressor", "ExtraTreesRegressor"})
_FOREST_CLASSIFIERS = frozenset({"RandomForestClassifier", "ExtraTreesClassifier"})


def lowered(estimator: Any, method: str) -> Optional[Predict]:
    """The bare computation of the estimator's method, or None where none is known."""
    kind = type(estimator)
    family = kind.__module__.split(".")[:2]
    numbers = numbers_of(estimator, method)
    if numbers is not None:
        return predictor(numbers, estimator.predict)
    if family == ["sklearn", "ensemble"] and getattr(estimator, "n_outputs_", 0) == 1:
        if kind.__name__ in _FOREST_REGRESSORS and method == "predict":
            return _forest(estimator, lambda mean: mean[:, 0], estimator.predict)
        if kind.__name__ in _FOREST_CLASSIFIERS and _normalised(estimator):
            if method == "predict_proba":
                return _forest(estimator, lambda mean: mean, estimator.predict_proba)
            if method == "predict":
                classes = estimator.classes_
                return _forest(estimator, lambda mean: classes.take(mean.argmax(axis=1)), estimator.predict)
    return None


def _forest(estimator: Any, finish: Predict, whole: Predict) -> Predict:
    """The trees one after another: scheduling them takes ten times what walking them does."""
    trees = [member.tree_ for member in estimator.estimators_]
    width = estimator.n_features_in_

    def predict(block: Any) -> Any:
        if block.shape[0] and block.shape[1] == width:
            # Trees compare in 32 bits; what does not fit them is refused by the estimator.
            with np.errstate(over="ignore"):
                rows = np.ascontiguousarray(block, dtype=np.float32)
            if np.isfinite(rows).all():
                total = trees[0].predict(rows)
                for tree in trees[1:]:
                    total = total + tree.predict(rows)
                return finish(total / len(trees))
        return whole(block)

    return predict


def _normalised(estimator: Any) -> bool:
    """Whether leaves hold fractions of classes, as they do since scikit-learn 1.3, and not counts."""
    return all(np.allclose(member.tree_.value.sum(axis=2), 1.0) for member in estimator.estimators_)
