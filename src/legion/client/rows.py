"""Rows in the forms Python has them → a body of MLflow's scoring protocol.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#json-input
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from legion.errors import UsageError

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
CONVERSATIONS = ("messages", "prompt", "input")
_HINT = "give a DataFrame, a list of dicts, or a list of lists with columns="


def body(rows: Any, columns: Sequence[str] | None = None, params: Mapping[str, Any] | None = None) -> bytes:
    """The request as JSON. NaN, NaT and NA become null, as MLflow writes them.

    Raises UsageError for rows in no form that is read, and for infinite numbers, which JSON does not have.
    """
    request = _request(rows, columns)
    if params:
        request["params"] = dict(params)
    try:
        text = _encode(request)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"the rows cannot be written as JSON ({error}); convert them to numbers and text") from None
    # The encoder writes NaN and infinity alike as null; only then it is worth a look at every value.
    if b"null" in text and (place := _infinite(request, "")) is not None:
        raise UsageError(f"{place} is infinite, which JSON does not have; replace it")
    return text


def is_conversation(rows: Any) -> bool:
    """Whether this is a body for a chat model or an agent, whose answer is one object and no list of predictions."""
    return isinstance(rows, Mapping) and any(key in rows for key in CONVERSATIONS)


def _request(rows: Any, columns: Sequence[str] | None) -> dict[str, Any]:
    if is_conversation(rows) and columns is None:
        return dict(rows)
    if isinstance(rows, Mapping):
        if columns is not None or sum(form in rows for form in FORMS) != 1:
            raise UsageError(f"a dict of rows must have exactly one of {', '.join(FORMS)}, and no columns=; {_HINT}")
        return dict(rows)
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        return {"dataframe_split": _split(rows, columns)}
    if hasattr(rows, "tolist"):
        rows = rows.tolist()
    if not isinstance(rows, (list, tuple)):
        raise UsageError(f"rows of type {type(rows).__name__} are not read; {_HINT}")
    if rows and all(isinstance(row, Mapping) for row in rows):
        if columns is not None:
            rows = [_picked(row, place, columns) for place, row in enumerate(rows)]
        return {"dataframe_records": list(rows)}
    if columns is not None:
        return {"dataframe_split": {"columns": list(columns), "data": list(rows)}}
    return {"inputs": list(rows)}


def _split(frame: Any, columns: Sequence[str] | None) -> dict[str, Any]:
    try:
        if columns is not None:
            frame = frame[list(columns)]
        split = frame.to_dict(orient="split")
        return {"columns": list(split["columns"]), "data": split["data"]}
    except KeyError as error:
        raise UsageError(f"the rows cannot be cut to columns= ({error.args[0]}); name columns that are there") from None
    except TypeError:
        raise UsageError(f"rows of type {type(frame).__name__} are not read; convert them with to_pandas()") from None


def _picked(row: Mapping[str, Any], place: int, columns: Sequence[str]) -> dict[str, Any]:
    if missing := [column for column in columns if column not in row]:
        raise UsageError(f"row {place} has no {missing[0]!r}; add it, or leave it out of columns=")
    return {column: row[column] for column in columns}


def _plain(value: Any) -> Any:
    """What numpy and pandas keep in rows, by the methods that they share with others."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_plain, decimal_format="number").encode


def _infinite(value: Any, path: str) -> str | None:
    """The path of the first infinite number."""
    if isinstance(value, float):
        return path if math.isinf(value) else None
    if hasattr(value, "tolist"):
        value = value.tolist()
        if isinstance(value, float):
            return path if math.isinf(value) else None
    if isinstance(value, Mapping):
        pairs = ((f"{path}.{key}" if path else str(key), inner) for key, inner in value.items())
    elif isinstance(value, (list, tuple)):
        pairs = ((f"{path}[{place}]", inner) for place, inner in enumerate(value))
    else:
        return None
    return next((found for place, inner in pairs if (found := _infinite(inner, place)) is not None), None)
