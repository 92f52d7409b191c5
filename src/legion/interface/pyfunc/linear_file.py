"""`legion.linear.json`: a linear model's numbers beside its estimator, so that a worker need not import what made them.

The file is bound to the estimator's own file by its SHA-256, and what is read from it is a candidate like any
other: it answers only where it reproduces the golden answers.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Optional

import msgspec
import numpy as np

from legion.interface.pyfunc.linear import OPERATIONS, Numbers, Predict, fits, numbers_of, predictor
from legion.wire import Linear

_FORMAT = 1
_FLOATS = ("float32", "float64")
# What classes may be: text, whole numbers, booleans, floats; `object` is for text.
_CLASSES = re.compile(r"<U[0-9]{1,5}|object|bool|u?int(8|16|32|64)|float(32|64)")


def describe(estimator: Any, method: str, path: Path) -> Optional[Linear]:
    """The numbers of an estimator that was loaded from the file `path`; None where it is not linear, or not finite."""
    numbers = numbers_of(estimator, method) if path.is_file() else None
    if numbers is None:
        return None
    classes = numbers.classes
    if classes is not None and _classes(classes.tolist(), _name(classes.dtype)) is None:
        return None
    kind = getattr(numbers.intercept, "dtype", None)
    return Linear(
        format=_FORMAT,
        estimator=_digest(path),
        dtype=str(numbers.coefficients.dtype),
        coefficients=numbers.coefficients.tolist(),
        intercept=np.asarray(numbers.intercept).tolist(),
        intercept_dtype=None if kind is None else str(kind),
        classes=None if classes is None else classes.tolist(),
        classes_dtype=None if classes is None else _name(classes.dtype),
        scaling=tuple((operation, values.tolist()) for operation, values in numbers.scaling),
    )


def read(source: Path, path: Path, method: str, whole: Predict) -> Optional[Predict]:
    """The computation that the file `source` describes for the estimator in `path`, or None where it does not.

    `whole` is the estimator's own method, for rows whose answer is not finite.
    """
    try:
        found = msgspec.json.decode(source.read_bytes(), type=Linear)
        if found.format != _FORMAT or found.estimator != _digest(path) or method != "predict":
            return None
        numbers = _numbers(found)
    except (OSError, msgspec.DecodeError, RecursionError, ValueError, TypeError, OverflowError, KeyError):
        # A shortcut that cannot be read is not taken; the model itself is there.
        return None
    return None if numbers is None else predictor(numbers, whole)


def _numbers(found: Linear) -> Optional[Numbers]:
    if found.dtype not in _FLOATS or found.intercept_dtype not in (None, *_FLOATS):
        return None
    if not all(operation in OPERATIONS for operation, _ in found.scaling):
        return None
    intercept: Any = found.intercept
    if found.intercept_dtype is not None:
        # [()] leaves an array as it is and makes a scalar of one number, as scikit-learn has it.
        intercept = np.array(intercept, dtype=found.intercept_dtype)[()]
    classes = None
    if found.classes is not None:
        classes = _classes(found.classes, found.classes_dtype or "")
        if classes is None:
            return None
    scaling = tuple((operation, np.array(values, dtype=np.float64)) for operation, values in found.scaling)
    numbers = Numbers(np.array(found.coefficients, dtype=found.dtype), intercept, classes, scaling)
    return numbers if fits(numbers) else None


def _classes(values: Any, kind: str) -> Optional[Any]:
    """The classes as an array, or None where the array would not give back these values."""
    if _CLASSES.fullmatch(kind) is None or (kind == "object" and not all(isinstance(value, str) for value in values)):
        return None
    try:
        "".join(value for value in values if isinstance(value, str)).encode()
    except UnicodeEncodeError:
        # A lone surrogate has no place in the file.
        return None
    made = np.array(values, dtype=kind)
    restored = made.tolist()
    same = restored == values and list(map(type, restored)) == list(map(type, values))
    return made if same else None


def _name(kind: Any) -> str:
    return str(kind.str) if kind.kind == "U" else str(kind)


def _digest(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
