"""An Arrow record batch as the body of a call: columns of raw bytes, or JSON for models that read requests whole.

The body of a `wire.COLUMNS` call:

    msgpack {"rows": n, "columns": [[name, kind, data], …]}

`kind` is a numpy dtype (`<f8`, `<i4`, `|b1`, …) with `data` its bytes, or `list` with n values: strings,
None, numbers that have gaps, times in ISO 8601, bytes in base64 (as in MLflow's JSON).
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import compute, types

from legion.errors import RefusedError

_encode = msgspec.msgpack.Encoder().encode


def columns_body(batch: pa.RecordBatch) -> bytes:
    """The body for a batch. Raises RefusedError for a column of a type no model takes."""
    columns = [_column(name, array) for name, array in zip(batch.schema.names, batch.columns, strict=True)]
    return _encode({"rows": batch.num_rows, "columns": columns})


def split_body(batch: pa.RecordBatch) -> bytes:
    """The same rows as a JSON request of MLflow's protocol; NaN is null. Raises RefusedError as above."""
    columns = [_column(name, array) for name, array in zip(batch.schema.names, batch.columns, strict=True)]
    values = [data if kind == "list" else np.frombuffer(data, kind).tolist() for _, kind, data in columns]
    rows = list(zip(*values, strict=True))
    return msgspec.json.encode({"dataframe_split": {"columns": batch.schema.names, "data": rows}})


def _column(name: str, array: pa.Array) -> tuple[str, str, Any]:

    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_decimal(array.type):
        array = array.cast(pa.float64())
    kind = array.type
    whole = types.is_integer(kind) or types.is_boolean(kind)
    # Gaps in floats become NaN, as pandas reads them; integers and booleans have no NaN to become.
    if types.is_floating(kind) or (whole and not array.null_count):
        return name, *_numbers(array)
    return name, "list", _values(name, array)


def _numbers(array: pa.Array) -> tuple[str, bytes]:

    # Not array.to_numpy(): that imports pandas where it is installed.
    if types.is_boolean(array.type):
        return "|b1", np.from_dlpack(array.cast(pa.uint8())).tobytes()
    if array.null_count:
        array = array.fill_null(float("nan"))
    values = np.from_dlpack(array)
    little = values.dtype.newbyteorder("<")
    return little.str, values.astype(little, copy=False).tobytes()


def _values(name: str, array: pa.Array) -> list[Any]:

    kind = array.type
    if types.is_timestamp(kind) or types.is_date(kind):
        return _times(array)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
    if _plain(kind):
        values: list[Any] = array.to_pylist()
        return values
    raise RefusedError(f"column {name!r} is of Arrow type {kind}, which no model takes; cast it")


def _times(array: pa.Array) -> list[Any]:

    kind = array.type
    if types.is_date(kind):
        return [None if value is None else value.isoformat() for value in array.to_pylist()]
    if kind.unit == "ns":
        # Six digits where nothing is lost: more than that, not every reader takes.
        with suppress(pa.ArrowInvalid):
            array = array.cast(pa.timestamp("us", kind.tz))
    zone = "" if kind.tz is None else "Z"
    if zone:
        array = array.cast(pa.timestamp(array.type.unit, "UTC"))
    texts: list[Any] = compute.strftime(array, format=f"%Y-%m-%dT%H:%M:%S{zone}").to_pylist()
    return texts


def _plain(kind: pa.DataType) -> bool:
    """Whether the values of a type, nested or not, are such as JSON holds."""

    if types.is_nested(kind):
        if types.is_map(kind) or types.is_union(kind):
            return False
        return all(_plain(kind.field(i).type) for i in range(kind.num_fields))
    return any(
        test(kind)
        for test in (
            types.is_null,
            types.is_boolean,
            types.is_integer,
            types.is_floating,
            types.is_string,
            types.is_large_string,
            types.is_string_view,
        )
    )
