"""GPPI, generation 2, over an MLflow model: the entrypoint module that an exported artifact holds.

It stands alone: this file is copied into the artifact as it is, and needs only mlflow and pandas. The model is
the MLflow model folder MODEL_LOCATION, relative to the working directory. Columns are matched by name, in any
order; a missing or an unknown one is an error that names it.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd

_state: dict[str, Any] = {}


def init() -> str:
    """Load the model; `matrix` where it takes a table of columns, else `objects`."""
    model = mlflow.pyfunc.load_model(os.environ.get("MODEL_LOCATION", "."))
    schema = model.metadata.get_input_schema()
    _state["model"] = model
    # Tensors and nested types are no columns.
    columns = schema is not None and not schema.is_tensor_spec()
    _state["columns"] = list(schema.inputs) if columns else []
    return "objects" if schema is not None and schema.is_tensor_spec() else "matrix"


def predict_on_matrix(
    input_matrix: Any, provided_columns_names: list[str] | None = None
) -> tuple[list[list[Any]], list[str]]:
    """Predict rows of cells; without names the cells are in the signature's order. Returns (rows, names)."""
    declared = [column.name for column in _state["columns"]]
    names = provided_columns_names
    if names is None and declared and None not in declared:
        names = declared
    frame = pd.DataFrame(input_matrix, columns=None if names is None else list(names))
    return _as_matrix(_state["model"].predict(_fitted(frame)))


def predict_on_objects(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predict objects, one answer each, as objects with the output's column names."""
    rows, names = _as_matrix(_state["model"].predict(_fitted(pd.DataFrame.from_records(objects))))
    # No strict=: this runs on Python 3.9 too.
    return [dict(zip(names, row)) for row in rows]  # noqa: B905


def get_object_input_type() -> type[Any]:
    """Objects are plain dicts."""
    return list[dict[str, Any]]


def get_object_output_type() -> type[Any]:
    """Answers are plain dicts."""
    return list[dict[str, Any]]


def get_output_json_serializer() -> type[json.JSONEncoder]:
    """The class for json.dumps(cls=...): numpy, pandas, dates and bytes."""
    return _Encoder


def get_info() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What goes in and what comes out: two lists of name, type, example, required."""
    metadata = _state["model"].metadata
    return _described(metadata.get_input_schema()), _described(metadata.get_output_schema())


class _Encoder(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        """Numbers as numbers, arrays as lists, dates as ISO 8601, bytes as base64."""
        if isinstance(o, (np.generic, np.ndarray)):
            return o.tolist()
        if isinstance(o, (datetime.date, datetime.datetime, pd.Timestamp)):
            return o.isoformat()
        if isinstance(o, bytes):
            return base64.b64encode(o).decode("ascii")
        return super().default(o)


def _fitted(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the signature's columns in their order and of their types. Raises ValueError."""
    columns = _state["columns"]
    if not columns or columns[0].name is None:
        return frame
    names = [column.name for column in columns]
    unknown = [str(name) for name in frame.columns if name not in names]
    if unknown:
        raise ValueError(f"unknown column {', '.join(unknown)}; the model takes {', '.join(names)}")
    required = [column.name for column in columns if getattr(column, "required", True)]
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise ValueError(f"missing column {', '.join(missing)}; add it to every row")
    frame = frame[[name for name in names if name in frame.columns]].copy()
    for column in columns:
        if column.name in frame.columns:
            frame[column.name] = _typed(frame[column.name], column)
    return frame


def _typed(cells: Any, column: Any) -> Any:
    """The cells as the column's type, where that loses nothing; MLflow itself refuses what does not fit."""
    kind = getattr(column.type, "name", "")
    try:
        if kind == "datetime":
            return pd.to_datetime(cells)
        if kind in ("integer", "long", "float", "double"):
            # A matrix of mixed cells comes in as objects; whole numbers among floats come in as floats.
            numbers = pd.to_numeric(cells)
            whole = kind in ("float", "double") or (numbers == np.floor(numbers)).all()
            return numbers.astype(column.type.to_pandas()) if whole else numbers
        if kind == "boolean" and all(isinstance(cell, (bool, np.bool_)) for cell in cells):
            return cells.astype(bool)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {column.name} must be of type {kind}: {error}") from None
    return cells


def _as_matrix(answer: Any) -> tuple[list[list[Any]], list[str]]:
    """Whatever a pyfunc model returns, as rows and names."""
    if isinstance(answer, pd.DataFrame):
        return answer.to_numpy(dtype=object).tolist(), [str(name) for name in answer.columns]
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        return _as_matrix(pd.DataFrame.from_records(answer))
    if isinstance(answer, dict):
        return _as_matrix(pd.DataFrame(answer))
    rows = answer.tolist() if hasattr(answer, "tolist") else list(answer)
    rows = [row if isinstance(row, list) else [row] for row in rows]
    width = len(rows[0]) if rows else 1
    return rows, ["result"] if width == 1 else [f"result_{number}" for number in range(width)]


def _described(schema: Any) -> list[dict[str, Any]]:
    if schema is None:
        return []
    examples = {"boolean": True, "integer": 1, "long": 1, "float": 1.0, "double": 1.0, "string": "text"}
    described = []
    for number, column in enumerate(schema.inputs):
        kind = getattr(column.type, "name", str(column.type))
        described.append(
            {
                "name": column.name if column.name is not None else str(number),
                "type": kind,
                "example": examples.get(kind),
                "required": bool(getattr(column, "required", True)),
            }
        )
    return described
