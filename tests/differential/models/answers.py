"""A model that answers with a value of the kind its configuration names, one a row where that has rows."""

import datetime
import decimal
import math

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from pydantic import BaseModel

_DAY = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456)


class Point(BaseModel):
    """An answer of a declared type."""

    x: float
    label: str


def _labels(n):
    return [f"é\u2028-{i}" for i in range(n)]


def _mixed(n):
    return pd.DataFrame(
        {
            "n": np.arange(n),
            "x": np.arange(n) / 3,
            "s": _labels(n),
            "b": [i % 2 == 0 for i in range(n)],
            "t": pd.Timestamp(_DAY),
            "nothing": None,
        }
    )


KINDS = {
    "float64": lambda n: np.arange(n) / 3,
    "float32": lambda n: (np.arange(n) / 3).astype("float32"),
    "float16": lambda n: (np.arange(n) / 3).astype("float16"),
    "int64": lambda n: np.arange(n) + 2**53 + 1,
    "uint64": lambda n: np.full(n, 2**64 - 1, dtype="uint64"),
    "int8": lambda n: np.arange(n, dtype="int8"),
    "bool": lambda n: np.arange(n) % 2 == 0,
    "two_dimensions": lambda n: np.arange(n * 2).reshape(n, 2) / 7,
    "three_dimensions": lambda n: np.arange(n * 4).reshape(n, 2, 2) / 7,
    "empty_array": lambda n: np.array([]),
    "zero_dimensions": lambda n: np.array(1.5),
    "nan": lambda n: np.full(n, np.nan),
    "infinite": lambda n: np.array([np.inf, -np.inf] * n),
    "text_array": lambda n: np.array(_labels(n)),
    "object_array": lambda n: np.array([*_labels(n), None, 1, 2.5, True], dtype=object),
    "bytes_array": lambda n: np.array([b"ab"] * n),
    "datetime_array": lambda n: np.array(["2024-05-06T07:08:09"] * n, dtype="datetime64[s]"),
    "day_array": lambda n: np.array(["2024-05-06"] * n, dtype="datetime64[D]"),
    "nanosecond_array": lambda n: np.array(["2024-05-06T07:08:09"] * n, dtype="datetime64[ns]"),
    "complex_array": lambda n: np.arange(n) * 1j,
    "frame": _mixed,
    "empty_frame": lambda n: pd.DataFrame({"a": []}),
    "frame_without_names": lambda n: pd.DataFrame(np.arange(n * 2).reshape(n, 2)),
    "frame_of_timestamps": lambda n: pd.DataFrame({"t": [pd.Timestamp(_DAY), pd.NaT] * n}),
    "frame_of_nullable": lambda n: pd.DataFrame(
        {"i": pd.array([1, None] * n, dtype="Int64"), "s": pd.array(["a", None] * n, dtype="string")}
    ),
    "frame_of_bytes": lambda n: pd.DataFrame({"b": [b"\x00\xff" * 60] * n}),
    "frame_of_categories": lambda n: pd.DataFrame({"c": pd.Categorical(_labels(n))}),
    "frame_of_lists": lambda n: pd.DataFrame({"l": [[1, 2]] * n, "a": [np.array([1.5])] * n}),
    "frame_of_timedeltas": lambda n: pd.DataFrame({"d": pd.to_timedelta([1] * n, unit="s")}),
    "series": lambda n: pd.Series(np.arange(n) / 3),
    "named_series": lambda n: pd.Series(_labels(n), name="label"),
    "list_of_floats": lambda n: [i / 3 for i in range(n)],
    "long_list_of_floats": lambda n: [i / 3 for i in range(100)] + [math.nan],
    "list_of_numpy_scalars": lambda n: [np.float32(1 / 3), np.int64(2), np.bool_(True), np.str_("s")] * n,
    "list_of_lists": lambda n: [[1, "a", None, 2.5]] * n,
    "list_of_arrays": lambda n: [np.array([1, 2]), np.array([3.5])] * n,
    "list_of_text": _labels,
    "list_of_bytes": lambda n: [b"\x00\x01", bytearray(b"x")] * n,
    "list_of_datetimes": lambda n: [_DAY, _DAY.date(), _DAY.time(), pd.Timestamp(_DAY), pd.NaT] * n,
    "list_of_datetime64": lambda n: [np.datetime64("2024-05-06")] * n,
    "list_of_dicts": lambda n: [{"a": 1, "b": np.float64(math.nan), "c": [np.int32(4)]}] * n,
    "list_of_models": lambda n: [Point(x=1.5, label="a")] * n,
    "list_of_decimals": lambda n: [decimal.Decimal("1.50")] * n,
    "list_of_frames": lambda n: [pd.DataFrame({"a": [1]})] * n,
    "model": lambda n: Point(x=1.5, label="a"),
    "dict": lambda n: {"scores": np.arange(n) / 3, "label": "x", "none": None},
    "dict_of_numbers": lambda n: {2: "two", 2.5: "two and a half", True: "yes", None: "none"},
    "dict_of_numpy_keys": lambda n: {np.int64(1): "one"},
    "dict_of_tuples": lambda n: {(1, 2): "pair"},
    "scalar": lambda n: 1.5,
    "numpy_scalar": lambda n: np.float32(1.5),
    "text": lambda n: "text",
    "bytes": lambda n: b"bytes",
    "none": lambda n: None,
    "true": lambda n: True,
    "big_integer": lambda n: [2**70],
    "integer_of_5000_digits": lambda n: [10**4999],
    "tuple": lambda n: (1, 2.5, "x"),
    "set": lambda n: {1},
    "generator": lambda n: (i for i in range(n)),
    "object": lambda n: object(),
    "lone_surrogate": lambda n: ["\ud800"],
    "enormous_float": lambda n: [1e308, 5e-324, 0.1, 1e22, -0.0],
    "deep": lambda n: _nested(200),
    "too_deep": lambda n: _nested(100_000),
    "cyclic": lambda n: _cycle(),
}


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def _cycle():
    value = []
    value.append(value)
    return value


class Answers(PythonModel):
    """Returns the configured kind of value, or raises."""

    def predict(self, context, model_input, params=None):
        """The value for as many rows as came in."""
        kind = context.model_config["kind"]
        if kind == "raises":
            raise ValueError(f"no answer, in {__file__}")
        if kind == "exits":
            raise SystemExit(3)
        return KINDS[kind](len(model_input))


set_model(Answers())
