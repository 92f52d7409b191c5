"""The shortcuts: the native model on one numeric block, without importing mlflow or pandas.

Only candidates. One is used only after it has reproduced the golden answers (worker/proof.py).
"""

from __future__ import annotations

import importlib.util
import pickle
import warnings
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import numpy as np

from legion.interface.pyfunc import linear_file
from legion.interface.pyfunc.sklearn_kernels import lowered
from legion.interface.table import Table
from legion.signature import Signature
from legion.wire import Linear, Plan

_DTYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32"}


class Native:
    """A scikit-learn estimator called on an ndarray of shape (n, columns).

    `path` is `native` for the estimator's own method, `lowered` for its bare computation.
    """

    mode = "matrix"
    checks_objects = False

    def __init__(self, path: str, predict: Callable[[Any], Any], signature: Signature, dtype: Any) -> None:
        self.path = path
        self._predict = predict
        self.signature = signature
        self.dtype = dtype

    def predict(self, table: Table, params: Optional[Dict[str, Any]]) -> Any:
        """The estimator's prediction for the block; without a parameter schema MLflow ignores `params` too."""
        return self._predict(table.matrix(self.dtype))

    def invoke(self, body: bytes, content_type: Optional[str]) -> Tuple[int, bytes, str]:
        """Never asked for: a shortcut exists for tables only."""
        raise NotImplementedError

    def describe(self) -> Optional[Dict[str, Any]]:
        """MLflow models describe themselves by their signature only."""
        return None

    def encode(self, value: Any) -> Optional[bytes]:
        """MLflow models have no serializer of their own."""
        return None


def block_dtype(signature: Signature) -> Optional[Any]:
    """The one type of a block of these columns, as pandas would make of the same frame; None if there is none."""
    kinds = {field.type for field in signature.inputs}
    if not kinds or not kinds <= set(_DTYPES) or not all(field.required for field in signature.inputs):
        return None
    return np.result_type(*(np.dtype(_DTYPES[kind]) for kind in kinds))


def candidates(plan: Plan) -> Iterator[Native]:
    """The shortcuts known for an MLflow scikit-learn model, the cheapest first.

    The formats are MLflow's (mlflow/sklearn: skops with its trusted types, cloudpickle, pickle).
    """
    dtype = _dtype(plan)
    if dtype is None:
        return
    flavor = plan.flavors["sklearn"]
    path, method = _estimator_path(plan), _method(plan)
    estimator = lru_cache(maxsize=None)(partial(_load, path, flavor))
    # The block carries no column names; the order was matched by name when the request was read.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    if plan.linear is not None and _importable(flavor):
        # scikit-learn takes a second to import; these rows do not need it.
        def whole(block: Any) -> Any:
            return getattr(estimator(), method)(block)

        kept = linear_file.read(Path(plan.folder, plan.linear), path, method, whole)
        if kept is not None:
            yield Native("lowered", kept, plan.signature, dtype)
    bare = lowered(estimator(), method)
    if bare is not None:
        yield Native("lowered", bare, plan.signature, dtype)
    yield Native("native", getattr(estimator(), method), plan.signature, dtype)


def described(plan: Plan, estimator: Callable[[], Any]) -> Optional[Linear]:
    """What legion.linear.json is to hold for the plan's model; None for nothing, without asking for the estimator
    where no shortcut could take it.
    """
    return None if _dtype(plan) is None else linear_file.describe(estimator(), _method(plan), _estimator_path(plan))


def _dtype(plan: Plan) -> Optional[Any]:
    """The type of the block that the model takes, or None where there is no shortcut."""
    flavor, pyfunc = plan.flavors.get("sklearn"), plan.flavors.get("python_function")
    if not flavor or not pyfunc or plan.signature.params is not None:
        return None
    if pyfunc.get("loader_module") != "mlflow.sklearn" or flavor.get("code"):
        return None
    return block_dtype(plan.signature)


def _estimator_path(plan: Plan) -> Path:
    return Path(plan.folder, plan.flavors["sklearn"]["pickled_model"])


def _method(plan: Plan) -> str:
    return str(plan.flavors["python_function"].get("predict_fn") or "predict")


def _importable(flavor: Dict[str, Any]) -> bool:
    """Whether the estimator could be loaded here, as far as can be told without importing anything."""
    form = flavor.get("serialization_format", "pickle")
    needed = ("sklearn", "scipy", "joblib", *((form,) if form in ("skops", "cloudpickle") else ()))
    return all(importlib.util.find_spec(name) is not None for name in needed)


def _load(path: Path, flavor: Dict[str, Any]) -> Any:
    form = flavor.get("serialization_format", "pickle")
    if form == "skops":
        import skops.io  # noqa: PLC0415

        return skops.io.load(path, trusted=flavor.get("skops_trusted_types"))
    with path.open("rb") as file:
        if form == "cloudpickle":
            import cloudpickle  # noqa: PLC0415

            return cloudpickle.load(file)
        return pickle.load(file)  # noqa: S301
