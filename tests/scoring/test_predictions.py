from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legion.scoring.predictions import read_predictions

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(values=st.lists(VALUE) | st.lists(FLOATS, min_size=1))
def test_what_was_sent_comes_back(values: Any) -> None:
    found = read_predictions(msgspec.json.encode({"predictions": values}))
    assert found.values == values
    assert found.rows == len(values)


@pytest.mark.parametrize(("inner", "plain"), [("1,2.5,-3e-7", True), ("1,null", False), ("", False), ('"1"', False)])
def test_only_plain_numbers_stay_text(inner: str, plain: bool) -> None:
    assert (read_predictions(f'{{"predictions":[{inner}]}}'.encode()).numbers == inner.encode()) is plain


def test_spaces_of_another_serializer_do_no_harm() -> None:
    assert read_predictions(b'{"predictions": [1, 2.5]}').values == [1, 2.5]


def test_named_outputs_become_records() -> None:
    body = b'{"predictions":{"a":[1,2],"b":["x","y"]}}'
    assert read_predictions(body).values == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
