"""One scalar of a request, checked against its column's type.

Each reader gives the value as the model gets it, or raises ValueError with what was expected. MLflow reads
binary and datetime cells of `instances` and `inputs` as numpy does, elsewhere as pandas does; so there are
two tables of readers.
"""

from __future__ import annotations

import binascii
import math
import warnings
from typing import Any, Callable, Dict

import numpy as np

_NAN = float("nan")


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return str(value)[:40]


def _number(value: Any) -> float:
    # A missing number is NaN, as in the DataFrame that MLflow makes.
    if value is None:
        return _NAN
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"expected a number, got {_shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("expected a number that fits a double, got a larger one") from None


def _whole(low: int, high: int, bits: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected a whole number, got {_shown(value)}")
        if not low <= value <= high:
            raise ValueError(f"expected a whole number of {bits} bits, got a larger one")
        return value

    return read


def _boolean(value: Any) -> bool:
    if isinstance(value, bool) or (isinstance(value, (int, float)) and value in (0, 1)):
        return bool(value)
    raise ValueError(f"expected true or false, got {_shown(value)}")


def _text(value: Any) -> Any:
    if value is not None and not isinstance(value, str) and not (isinstance(value, float) and math.isnan(value)):
        raise ValueError(f"expected text, got {_shown(value)}")
    return value


def _binary(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"expected base64 text, got {_shown(value)}")
    try:
        return binascii.a2b_base64(value)
    except ValueError:
        raise ValueError("expected base64 text, got something else") from None


def _ascii(value: Any) -> bytes:
    if not isinstance(value, str) or not value.isascii():
        raise ValueError(f"expected ASCII text, got {_shown(value)}")
    return value.encode("ascii")


def _moment(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("expected a date and time, got a number of more than 64 bits")
    # The text is read where pandas is: one format holds for a whole column.
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        raise ValueError(f"expected a date and time as text, got {_shown(value)}")
    return value


def _array_moment(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        raise ValueError(f"expected a date and time as text, got {_shown(value)}")
    try:
        if isinstance(value, str):
            with warnings.catch_warnings():
                # An offset from UTC is taken into account, with a warning each time.
                warnings.simplefilter("ignore")
                moment = np.datetime64(value, "ns")
                wide = np.datetime64(value, "s")
            if moment.astype("datetime64[s]") != wide and not np.isnat(wide):
                raise ValueError("out of range")
            return moment
        return np.datetime64("NaT" if value is None else value, "ns")
    except (ValueError, OverflowError):
        raise ValueError(f"expected a date and time as ISO 8601 has it, got {_shown(value)}") from None


Readers = Dict[str, Callable[[Any], Any]]

READERS: Readers = {
    "double": _number,
    "float": _number,
    "long": _whole(-(2**63), 2**63 - 1, 64),
    "integer": _whole(-(2**31), 2**31 - 1, 32),
    "boolean": _boolean,
    "string": _text,
    "binary": _binary,
    "datetime": _moment,
}
# For `instances` and `inputs`, where MLflow makes numpy arrays of the columns.
ARRAY_READERS: Readers = {**READERS, "binary": _ascii, "datetime": _array_moment}
