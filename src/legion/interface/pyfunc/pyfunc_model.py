"""MLflow models of any flavor, through `mlflow.pyfunc`: the reference that every shortcut is held against.

The only door to mlflow and pandas inside a worker.
"""

from __future__ import annotations

import inspect
import json
import logging
import warnings
from typing import Any, Dict, Generator, List, Optional, Tuple

import mlflow
import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from legion.errors import InputError
from legion.interface import result
from legion.interface.redaction import shown
from legion.interface.table import Table
from legion.signature import Signature
from legion.wire import Plan

_DTYPES = {
    "boolean": np.dtype("bool"),
    "integer": np.dtype("int32"),
    "long": np.dtype("int64"),
    "float": np.dtype("float32"),
    "double": np.dtype("float64"),
}

_logger = logging.getLogger(__name__)


class Pyfunc:
    """An MLflow model as a model. Column signatures take tables; everything else takes whole bodies."""

    path = "reference"
    checks_objects = False

    def __init__(self, model: Any, signature: Signature) -> None:
        self._model = model
        self._schema = model.metadata.get_input_schema()
        self.signature = signature
        self.mode = "matrix" if signature.kind == "columns" else "whole"
        self._types = {field.name: field.type for field in signature.inputs}
        self._kinds = [field.type for field in signature.inputs]
        self._takes_params = "params" in inspect.signature(model.predict).parameters

    def predict(self, table: Table, params: Optional[Dict[str, Any]]) -> Any:
        """`PyFuncModel.predict` on the DataFrame that MLflow would have made of the same rows."""
        frame = self._frame(table)
        try:
            return self._model.predict(frame, params=params) if self._takes_params else self._model.predict(frame)
        except MlflowException as error:
            raise InputError(str(error.message)) from error

    def _frame(self, table: Table) -> pd.DataFrame:
        if table.block is not None:
            frame = pd.DataFrame(table.block, columns=table.names)
        else:
            frame = pd.DataFrame(table.rows, columns=table.names)
        kinds = [self._types[name] for name in table.names or ()] if self.signature.named else self._kinds
        for name, kind in zip(frame.columns, kinds):
            column = frame[name]
            if kind == "datetime":
                frame[name] = _datetimes(column, str(name))
            elif kind in _DTYPES and column.dtype != _DTYPES[kind]:
                frame[name] = column.astype(_DTYPES[kind])
            elif kind in ("string", "binary") and not isinstance(column.dtype, pd.StringDtype):
                frame[name] = column.astype(object)
        return frame

    def invoke(self, body: bytes, content_type: Optional[str]) -> Tuple[int, bytes, str]:
        """The whole request through MLflow's own scoring code."""
        try:
            answer = scoring_server.invocations(body, content_type or "application/json", self._model, self._schema)
        except MlflowException as error:
            if getattr(error, "json_kwargs", {}).get("stack_trace"):
                _logger.warning("prediction failed:\n%s", error.json_kwargs["stack_trace"])
            # The trace names paths of this machine; it belongs in the log, not in the answer.
            error.json_kwargs = {**error.json_kwargs, "stack_trace": _last_line(error)}
            error.message = shown(error.message)
            return error.get_http_status_code(), error.serialize_as_json().encode(), "application/json"
        text = answer.response
        if "NaN" in text or "Infinity" in text:
            # Python's json writes what JSON does not have; the answer is always valid.
            return answer.status, result.to_json(json.loads(text)), answer.mimetype
        return answer.status, text.encode(), answer.mimetype

    def describe(self) -> Optional[Dict[str, Any]]:
        """MLflow models describe themselves by their signature only."""
        return None

    def encode(self, value: Any) -> Optional[bytes]:
        """MLflow models have no serializer of their own."""
        return None


class StreamingPyfunc(Pyfunc):
    """A model that has `predict_stream`."""

    def stream(self, body: bytes) -> Generator[Any, None, None]:
        """`PyFuncModel.predict_stream` on what MLflow's scoring server would have made of the same body."""
        reader = _Reader(self._model.metadata)
        try:
            scoring_server.invocations(body, "application/json", reader, self._schema)
            ((data, params),) = reader.read
            yield from self._model.predict_stream(data, params=params)
        except MlflowException as error:
            raise InputError(shown(error.message)) from error


class _Reader:
    """Stands in for a model, to get at what MLflow's scoring server would hand to it."""

    def __init__(self, metadata: Any) -> None:
        self.metadata = metadata
        self.read: List[Tuple[Any, Optional[Dict[str, Any]]]] = []

    def predict(self, data: Any, params: Optional[Dict[str, Any]] = None) -> List[Any]:
        self.read.append((data, params))
        return []


def load(plan: Plan) -> Pyfunc:
    """Load the model by `mlflow.pyfunc.load_model`; its dependency warnings are not repeated here."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mlflow.pyfunc.load_model(plan.folder)
    streams = model.metadata.flavors[mlflow.pyfunc.FLAVOR_NAME].get("streamable")
    return (StreamingPyfunc if streams else Pyfunc)(model, plan.signature)


def raw(model: Any) -> Any:
    """What the flavor itself loaded, or None where the flavor does not say."""
    loaded = getattr(model, "_model", None)
    try:
        return loaded.get_raw_model() if isinstance(loaded, mlflow.pyfunc.PyFuncModel) else None
    except (AttributeError, NotImplementedError):
        return None


def mlflow_version() -> str:
    """The installed MLflow's version."""
    return str(mlflow.__version__)


def _datetimes(column: pd.Series, name: str) -> pd.Series:
    try:
        parsed = pd.to_datetime(column)
        if pd.api.types.is_datetime64_any_dtype(parsed) and getattr(parsed.dt, "unit", "ns") != "ns":
            parsed = parsed.dt.as_unit("ns")
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"column {name!r}: {error}", column=name) from None
    return parsed


def _last_line(error: MlflowException) -> str:
    """The trace's last line, which says what was raised and not where."""
    trace = str(error.json_kwargs.get("stack_trace") or "").strip().splitlines()
    return shown(trace[-1] if trace else f"MlflowException: {error.message}")
