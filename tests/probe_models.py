"""Small GPPI models that several test files serve: sources for `gppi_folder`."""

from __future__ import annotations

# The sum of each row, whatever its columns are called.
SUM = """
def init():
    return "matrix"

def predict_on_matrix(input_matrix, provided_columns_names=None):
    return [[sum(row)] for row in input_matrix.tolist()]
"""

# Gives back what it is given.
ECHO = """
def init():
    return "matrix"

def predict_on_matrix(input_matrix, provided_columns_names=None):
    return input_matrix
"""

# Cannot be loaded.
BROKEN = """
def init():
    raise RuntimeError('the weights are missing')
"""

_OF_ONE_NUMBER = """
def init():
    return "matrix"

def info():
    return [{"name": "a", "type": "number", "example": 1.0, "required": True}], [
        {"name": "result", "type": "number"}
    ]

def predict_on_matrix(input_matrix, provided_columns_names=None):
    return [[ANSWER] for (a,) in input_matrix.tolist()], ["result"]
"""


def times(factor: float) -> str:
    """The number `a` times this, as `result`."""
    return _OF_ONE_NUMBER.replace("ANSWER", f"a * {factor}")


def plus(number: float) -> str:
    """The number `a` and this, as `result`."""
    return _OF_ONE_NUMBER.replace("ANSWER", f"a + {number}")
