"""Whatever a model returns, in JSON; what MLflow's server makes of each type is tested beside it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legion.interface import result

# Lone surrogates included.
texts = st.text(st.characters(), max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def finite(value: Any) -> Any:
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(values)
def test_the_answer_is_always_valid_json(value: Any) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = result.predictions(result.items_of(value))
    assert json.loads(text, parse_constant=refuse) == {"predictions": finite(value)}


@pytest.mark.parametrize("value", [object(), {1, 2}, [lambda: 1], {(1, 2): 3}, 1j, np.array([1j]), range(3)])
def test_what_json_cannot_hold_names_its_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"the model returned .*which JSON cannot hold"):
        result.to_json(result.items_of(value))


def test_matrices_and_their_names() -> None:
    assert result.matrix_of([1.0, 2.0], None) == ([[1.0], [2.0]], ["result"])
    assert result.matrix_of([[1, 2]], None) == ([[1, 2]], ["result_0", "result_1"])
    assert result.matrix_of([[1, 2]], ["a", "b"]) == ([[1, 2]], ["a", "b"])
    assert result.matrix_of([[1, 2]], ["a"]) == ([[1, 2]], ["result_0", "result_1"])
    assert result.matrix_of([{"a": 1, "b": 2}, {"b": 3}], None) == ([[1, 2], [None, 3]], ["a", "b"])
    assert result.matrix_of("text", None) == ([["text"]], ["result"])
    assert result.matrix_of([], None) == ([], ["result"])


def test_rows_of_too_many_different_columns_are_no_matrix() -> None:
    with pytest.raises(TypeError, match="10000 different columns"):
        result.matrix_of([{str(i): 1} for i in range(10_000)], None)
