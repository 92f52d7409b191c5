"""`legion.linear.json`: a linear model's numbers beside its estimator, so that a worker need not import what made them.

The file is bound to the estimator's own file by its SHA-256, and what is read from it is a candidate like any
other: it answers only where it reproduces the golden answers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Optional

import msgspec
import numpy as np

from legion.interface.lowered import Predict, is_linear, linear
from legion.wire import Linear

_FORMAT = 1
_DTYPES = ("float32", "float64")


def describe(estimator: Any, method: str, path: Path) -> Optional[Linear]:
    """The numbers of an estimator that was loaded from the file `path`; None where it is not linear, or not finite."""
    if not is_linear(estimator, method) or not path.is_file():
        return None
    coefficients, intercept = np.asarray(estimator.coef_), estimator.intercept_
    kind = getattr(intercept, "dtype", None)
    if str(coefficients.dtype) not in _DTYPES:
        return None
    if (kind is not None and str(kind) not in _DTYPES) or not _fits(coefficients, intercept):
        return None
    return Linear(
        format=_FORMAT,
        estimator=_digest(path),
        dtype=str(coefficients.dtype),
        coefficients=coefficients.tolist(),
        intercept=np.asarray(intercept).tolist(),
        intercept_dtype=None if kind is None else str(kind),
    )


def read(source: Path, path: Path, method: str, whole: Predict) -> Optional[Predict]:
    """The computation that the file `source` describes for the estimator in `path`, or None where it does not.

    `whole` is the estimator's own method, for rows whose answer is not finite.
    """
    try:
        found = msgspec.json.decode(source.read_bytes(), type=Linear)
        if found.format != _FORMAT or found.estimator != _digest(path) or method != "predict":
            return None
        if found.dtype not in _DTYPES or found.intercept_dtype not in (None, *_DTYPES):
            return None
        coefficients = np.array(found.coefficients, dtype=found.dtype)
        intercept: Any = found.intercept
        if found.intercept_dtype is not None:
            # [()] leaves an array as it is and makes a scalar of one number, as scikit-learn has it.
            intercept = np.array(intercept, dtype=found.intercept_dtype)[()]
        if not _fits(coefficients, intercept):
            return None
    except (OSError, msgspec.DecodeError, ValueError, TypeError, OverflowError):
        # A shortcut that cannot be read is not taken; the model itself is there.
        return None
    return linear(coefficients, intercept, whole)


def _fits(coefficients: Any, intercept: Any) -> bool:
    """Whether these are finite numbers of shapes that belong together."""
    if not hasattr(intercept, "dtype") and type(intercept) not in (int, float):
        return False
    targets = coefficients.shape[0] if coefficients.ndim == 2 else 1
    if coefficients.ndim not in (1, 2) or not coefficients.size or np.shape(intercept) not in ((), (1,), (targets,)):
        return False
    return bool(np.isfinite(coefficients).all() and np.isfinite(intercept).all())


def _digest(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
