"""An MLflow model without any library: 2 x length + 10 x count."""

import json


class Linear:
    """A weighted sum of two columns."""

    def __init__(self, weights):
        self.weights = weights

    def predict(self, frame):
        """One number a row."""
        return sum(frame[name] * weight for name, weight in self.weights.items()).to_numpy()


def _load_pyfunc(path):
    with open(path) as file:
        return Linear(json.load(file))
