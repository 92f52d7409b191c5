"""Train one model and save it as MLflow does, with request bodies beside it: fit.py wine|wide|forest FOLDER."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import ElasticNet

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "wine"))
from wine_data import COLUMNS, TARGET, draw

# The request of the README.
WINE = [6.2, 0.66, 0.48, 1.2, 0.029, 29, 75, 0.98, 3.33, 0.39, 12.8]
WIDE = 600
_LIBRARIES = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")


def wine() -> tuple[pd.DataFrame, pd.Series]:
    """Eleven columns and the quality."""
    table = draw(seed=0)
    return table[COLUMNS], table[TARGET]


def wide() -> tuple[pd.DataFrame, pd.Series]:
    """600 columns of normal values, and a sum of some with noise."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(4000, WIDE)).round(4), columns=[f"x{i:03d}" for i in range(WIDE)])
    weights = np.where(np.arange(WIDE) % 10 == 0, random.normal(size=WIDE), 0.0)
    return table, pd.Series(table.to_numpy() @ weights + random.normal(size=len(table)))


def regressor(name: str) -> ElasticNet | RandomForestRegressor:
    """The estimators of examples/wine, at its default parameters."""
    return RandomForestRegressor(100, random_state=0) if name == "forest" else ElasticNet(alpha=0.1, random_state=0)


def body(table: pd.DataFrame) -> str:
    """A request in the form dataframe_split."""
    split = {"columns": list(table.columns), "data": table.to_numpy().tolist()}
    return json.dumps({"dataframe_split": split})


def main(name: str, home: Path) -> None:
    """Write FOLDER/model, FOLDER/one.json and FOLDER/thousand.json."""
    table, answers = wide() if name == "wide" else wine()
    model = regressor(name).fit(table, answers)
    trusted: dict[str, Any] = {"skops_trusted_types": ["sklearn.tree._tree.Tree"]} if name == "forest" else {}
    mlflow.sklearn.save_model(
        model,
        str(home / "model"),
        signature=infer_signature(table, model.predict(table)),
        input_example=table.head(5),
        pip_requirements=[f"{library}=={version(library)}" for library in _LIBRARIES],
        **trusted,
    )
    one = table.head(1) if name == "wide" else pd.DataFrame([WINE], columns=COLUMNS)
    (home / "one.json").write_text(body(one))
    (home / "thousand.json").write_text(body(table.head(1000)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
