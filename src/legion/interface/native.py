"""The shortcuts: the native model on one numeric block, without importing mlflow or pandas.

Only candidates. One is used only after it has reproduced the golden answers (worker/proof.py).
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import numpy as np

from legion.interface.lowered import lowered
from legion.interface.table import Table
from legion.signature import Signature
from legion.wire import Plan

_DTYPES = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32"}


class Native:
    """A scikit-learn estimator called on an ndarray of shape (n, columns).

    `path` is `native` for the estimator's own method, `lowered` for its bare computation.
    """

    mode = "matrix"

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
    flavor, pyfunc = plan.flavors.get("sklearn"), plan.flavors.get("python_function")
    dtype = block_dtype(plan.signature)
    if not flavor or not pyfunc or dtype is None or plan.signature.params is not None:
        return
    if pyfunc.get("loader_module") != "mlflow.sklearn" or flavor.get("code"):
        return
    estimator = _load(Path(plan.folder, flavor["pickled_model"]), flavor)
    # The block carries no column names; the order was matched by name when the request was read.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    method = pyfunc.get("predict_fn") or "predict"
    bare = lowered(estimator, method)
    if bare is not None:
        yield Native("lowered", bare, plan.signature, dtype)
    yield Native("native", getattr(estimator, method), plan.signature, dtype)


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
