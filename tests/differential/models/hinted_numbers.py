"""A model whose signature comes from its type hint: a list of numbers."""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Hinted(PythonModel):
    """Doubles what it is given."""

    def predict(self, model_input: list[float], params: dict[str, Any] | None = None) -> list[float]:
        """One number a row."""
        return [2 * value for value in model_input]


set_model(Hinted())
