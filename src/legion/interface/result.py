"""What a model returned, made plain: one item a row, ready for JSON.

Follows what MLflow's scoring server does with each type, so that both answer alike
(mlflow/utils/proto_json_utils.py, `_get_jsonable_obj` and `NumpyEncoder`).
"""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections import Counter
from typing import Any, Dict, List, Optional, Sequence, Tuple

import msgspec
import numpy as np

_encoder = msgspec.json.Encoder()
_PLAIN = (str, int, float, bool, type(None))
# So many cells of a matrix may be empty because rows have different columns.
_MOST_GAPS = 2**25


def items_of(raw: Any) -> Any:
    """The result as lists, dicts and scalars. Numbers stay as they are; NaN becomes null when encoded."""
    if isinstance(raw, np.ndarray):
        return raw.tolist() if raw.dtype.kind in "biuf" else plain(raw.tolist())
    if hasattr(raw, "to_dict") and hasattr(raw, "iloc"):
        frame = raw.to_frame() if not hasattr(raw, "columns") else raw
        return plain(frame.to_dict(orient="records"))
    if hasattr(raw, "toarray"):
        return raw.toarray().tolist()
    if isinstance(raw, (list, tuple)) and len(raw) > 64 and all(type(item) is float for item in raw):
        return list(raw)
    return plain(raw)


def rows_of(raw: Any, n: int) -> Any:
    """What a module gave for `n` rows or objects, as a list of as many answers, their cells still anything.

    A matrix of any kind (ndarray, lists, tuples, DataFrame, sparse, whatever numpy reads) is a list of rows, a flat one
    or a Series a list of values. With column names (a pair (matrix, names), a DataFrame, a Series that has a name, an
    array with fields) each row is a dict. Text, a number and a dict are one answer. An ndarray of numbers stays one.

    Raises ValueError where there are not `n` answers, or the names do not fit.
    """
    matrix, names = raw if _is_pair(raw) else (raw, None)
    if hasattr(matrix, "to_frame") and not hasattr(matrix, "columns"):
        names = [matrix.name] if names is None and isinstance(matrix.name, str) else names
    elif hasattr(matrix, "iloc"):
        names = list(matrix.columns) if names is None else names
    elif names is None and isinstance(matrix, np.ndarray):
        names = matrix.dtype.names
    rows = _rows(matrix)
    if len(rows) != n:
        raise ValueError(f"the model gave {len(rows)} answers for {n} rows")
    if names is None:
        return rows
    if len(set(names)) != len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise ValueError(f"the model gave the column {twice!r} twice")
    rows = [row if isinstance(row, (list, tuple)) else [row] for row in _listed(rows)]
    wrong = next((row for row in rows if len(row) != len(names)), None)
    if wrong is not None:
        raise ValueError(f"the model gave {len(names)} column names for {len(wrong)} columns")
    return [dict(zip(names, row)) for row in rows]


def _rows(matrix: Any) -> Any:
    """The rows of any kind of matrix, as a list or an ndarray of numbers."""
    if isinstance(matrix, (list, tuple)):
        return [list(row) if isinstance(row, (tuple, np.ndarray)) else row for row in matrix]
    if hasattr(matrix, "iloc"):
        # By column, so that whole numbers beside others stay whole.
        if hasattr(matrix, "columns"):
            return [list(row) for row in matrix.itertuples(index=False, name=None)]
        return matrix.tolist()
    if hasattr(matrix, "toarray"):
        matrix = matrix.toarray()
    elif hasattr(matrix, "__array__") and not isinstance(matrix, np.ndarray):
        matrix = np.asarray(matrix)
    if isinstance(matrix, np.ndarray) and matrix.ndim:
        return matrix if matrix.dtype.kind in "biuf" and not np.ma.isMaskedArray(matrix) else _listed(matrix)
    return [matrix]


def _listed(rows: Any) -> List[Any]:
    """The rows as a list. Dates as dates: counted in nanoseconds, numpy would make whole numbers of them."""
    if not isinstance(rows, np.ndarray):
        return list(rows)
    return list((rows.astype("datetime64[us]") if rows.dtype.kind == "M" else rows).tolist())


def _is_pair(raw: Any) -> bool:
    """Whether this is a matrix and the names of its columns."""
    if not (isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[1], (list, tuple)) and raw[1]):
        return False
    if not all(isinstance(name, str) for name in raw[1]):
        return False
    # Two rows of text look like it, but for the first one, which is no matrix.
    flat = isinstance(raw[0], (list, tuple)) and not any(isinstance(row, (list, tuple, np.ndarray)) for row in raw[0])
    return not flat or len(raw[1]) == 1


def plain(value: Any) -> Any:
    """Any nest of values as what JSON can hold. Raises TypeError naming the type that cannot be."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _PLAIN:
        return value
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _key(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    """A value that is neither a number, a text nor a container, as what JSON can hold."""
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(bytes(value)).decode("ascii")
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if hasattr(value, "__fields__") and hasattr(value, "dict"):
        # pydantic 1
        return plain(value.dict())
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(f"the model returned a {type(value).__name__}, which JSON cannot hold")


def _key(key: Any) -> str:
    # As Python's json writes keys that are no text: true, null, 1.5.
    if type(key) in _PLAIN:
        return _encoder.encode(key).decode()
    raise TypeError(f"the model returned an object with a key of type {type(key).__name__}, which JSON cannot hold")


def matrix_of(items: Any, columns: Optional[Sequence[str]]) -> Tuple[List[List[Any]], List[str]]:
    """Items as the rows and column names of Legion's REST answer.

    Raises TypeError where their columns differ so much that hardly any cell would be filled.
    """
    if not isinstance(items, list):
        items = [items]
    if items and isinstance(items[0], dict):
        names = list(dict.fromkeys(name for item in items if isinstance(item, dict) for name in item))
        if len(items) * len(names) - sum(map(len, items)) > _MOST_GAPS:
            raise TypeError(f"the model's rows have {len(names)} different columns in all, too many for a matrix")
        return [[item.get(name) for name in names] for item in items], names
    rows = [item if isinstance(item, list) else [item] for item in items]
    width = len(rows[0]) if rows else 1
    if columns is not None and len(columns) == width:
        return rows, list(columns)
    return rows, ["result"] if width == 1 else [f"result_{i}" for i in range(width)]


def to_json(value: Any) -> bytes:
    """Valid JSON, always: NaN and infinities are null. Raises TypeError for what cannot be encoded."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8, but JSON can spell it.
        return json.dumps(_finite(value)).encode()
    except OverflowError as error:
        raise TypeError(f"the model returned a value that JSON cannot hold: {error}") from None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def predictions(items: Any) -> bytes:
    """The answer of MLflow's scoring protocol."""
    body: Dict[str, Any] = {"predictions": items}
    return to_json(body)
