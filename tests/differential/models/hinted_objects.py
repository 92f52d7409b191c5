"""A model whose signature comes from its type hint: a list of pydantic objects."""

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from pydantic import BaseModel


class Wine(BaseModel):
    """One bottle."""

    name: str
    alcohol: float
    year: int | None = None


class Hinted(PythonModel):
    """Shows the objects it is given."""

    def predict(self, model_input: list[Wine]) -> list[str]:
        """One text a row."""
        return [f"{type(wine).__name__} {wine.name!r} {wine.alcohol!r} {wine.year!r}" for wine in model_input]


set_model(Hinted())
