"""One cell at a time: what each type takes, what it makes of it, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from legion.worker.reading.scalars import ARRAY_READERS, READERS

TAKEN = [
    ("double", 1, 1.0),
    ("double", 2**53 + 1, 2.0**53),
    ("double", 1.5, 1.5),
    ("double", math.inf, math.inf),
    ("long", 5, 5),
    ("long", 5.0, 5),
    ("long", 2**63 - 1, 2**63 - 1),
    ("integer", -(2**31), -(2**31)),
    ("boolean", True, True),
    ("boolean", 0, False),
    ("boolean", 1.0, True),
    ("string", "x", "x"),
    ("string", None, None),
    ("binary", "AAEC", b"\x00\x01\x02"),
    ("binary", "AAEC\nAAEC\n", b"\x00\x01\x02\x00\x01\x02"),
    ("datetime", "2024-05-06", "2024-05-06"),
    ("datetime", 5, 5),
    ("datetime", None, None),
]


@pytest.mark.parametrize(("kind", "given", "value"), TAKEN)
def test_taken(kind: str, given: Any, value: Any) -> None:
    read = READERS[kind](given)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("kind", ["double", "float"])
def test_a_missing_number_is_nan(kind: str) -> None:
    assert math.isnan(READERS[kind](None))


def refused(kind: str, *values: Any) -> list[tuple[str, Any]]:
    return [(kind, value) for value in values]


REFUSED: list[tuple[str, Any]] = [
    *refused("double", "1", True, [1.0], {}, 10**400),
    *refused("long", "1", True, 1.5, None, math.nan, math.inf, 2**63, -(2**63) - 1, 1e19, []),
    *refused("integer", 2**31, 2.0**31, None),
    *refused("boolean", "true", 2, 0.5, None, math.nan, [], {}),
    *refused("string", 1, 1.5, True, [], {}),
    *refused("binary", None, 1, "AAE", "é", []),
    *refused("datetime", True, 1.5, [], {}, 2**63, -(2**63) - 1),
]


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_refused_with_what_was_expected(kind: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        READERS[kind](value)


def test_arrays_read_dates_as_numpy_does() -> None:
    read = ARRAY_READERS["datetime"]
    assert read("2024-05-06T07:08:09+02:00") == np.datetime64("2024-05-06T05:08:09", "ns")
    assert read(1) == np.datetime64(1, "ns")
    assert np.isnat(read(None))
    wrong: Any
    for wrong in ("5/6/2024", "1066-10-14", "99999-01-01", "3", "red", True, 1.5, []):
        with pytest.raises(ValueError, match=r"^expected a date"):
            read(wrong)


def test_arrays_take_binary_cells_as_their_text() -> None:
    assert ARRAY_READERS["binary"]("AAEC") == b"AAEC"
    for wrong in ("é", 1, None):
        with pytest.raises(ValueError, match=r"^expected ASCII"):
            ARRAY_READERS["binary"](wrong)
