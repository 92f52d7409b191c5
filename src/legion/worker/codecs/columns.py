"""Columns of a table file: `{"rows": n, "columns": [[name, kind, data], …]}` in msgpack.

`kind` is a numpy type such as `<f8` with the raw bytes, or `list` with a list of values. Batch prediction
speaks this for Parquet and Arrow; answers are those of MLflow's protocol.
"""

from __future__ import annotations

from typing import Any, List, Tuple

import msgspec
import numpy as np

from legion.errors import InputError
from legion.wire import Call
from legion.worker.codecs.invocations import Invocations
from legion.worker.codecs.request import Request


class _Columns(msgspec.Struct):
    rows: int
    columns: List[Tuple[str, str, Any]]


_decode = msgspec.msgpack.Decoder(_Columns).decode


class Columns(Invocations):
    """The codec for one model."""

    def decode(self, call: Call) -> Request:
        """Read the columns as one block where all are floats, else row by row."""
        try:
            message = _decode(call.body)
        except msgspec.DecodeError as error:
            raise InputError(f"the columns cannot be read: {error}", kind="syntax") from None
        names = [name for name, _, _ in message.columns]
        arrays = [_array(name, kind, data) for name, kind, data in message.columns]
        uneven = next((name for name, array in zip(names, arrays) if len(array) != message.rows), None)
        if uneven is not None:
            raise InputError(f"column {uneven!r} does not have {message.rows} values", column=uneven, kind="syntax")
        if not self._objects and all(isinstance(array, np.ndarray) for array in arrays):
            table = self._rows.array(names, arrays)
            if table is not None:
                return Request(table)
        values = [array.tolist() if isinstance(array, np.ndarray) else array for array in arrays]
        rows = [list(row) for row in zip(*values)]
        if self._objects:
            return Request(self._table("dataframe_split", {"columns": names, "data": rows}))
        return Request(self._rows.split(names, rows))


def _array(name: str, kind: str, data: Any) -> Any:
    if kind == "list" and isinstance(data, list):
        return data
    try:
        return np.frombuffer(data, dtype=kind)
    except (TypeError, ValueError) as error:
        raise InputError(f"column {name!r} cannot be read: {error}", column=name, kind="syntax") from None
