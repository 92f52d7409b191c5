"""A model that answers with what it was given: every value with its type, so that types are compared too."""

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


def shown(value: Any) -> Any:
    """A value as text that tells 1 from 1.0, None from NaN, and one array type from another."""
    if isinstance(value, np.ndarray):
        return [f"ndarray {value.dtype} {value.shape}", [shown(item) for item in value.ravel().tolist()]]
    if isinstance(value, dict):
        return {str(key): shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return f"{type(value).__name__} {value!r}"


class Echo(PythonModel):
    """Tables come back as names, dtypes and cells; anything else as nested text."""

    def predict(self, context, model_input, params=None):
        """One object, whatever the number of rows."""
        answer = {"params": shown(params)}
        if isinstance(model_input, pd.DataFrame):
            answer["columns"] = [shown(name) for name in model_input.columns]
            answer["dtypes"] = [str(dtype) for dtype in model_input.dtypes]
            answer["rows"] = [
                [shown(model_input.iloc[i, j]) for j in range(model_input.shape[1])]
                for i in range(model_input.shape[0])
            ]
            if (context.model_config or {}).get("index"):
                answer["index"] = [shown(label) for label in model_input.index]
        else:
            answer["value"] = shown(model_input)
        return answer


set_model(Echo())
