"""Score a logged or registered model on wines it has not seen; exit 1 where it explains too little."""

from __future__ import annotations

import argparse
from pathlib import Path

import mlflow
from sklearn.metrics import r2_score, root_mean_squared_error
from wine_data import COLUMNS, TARGET, load


def main() -> int:
    """0 where the model's r2 reaches the threshold, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-uri", required=True, help="such as models:/wine@champion")
    parser.add_argument("--min-r2", type=float, default=0.1, help="the least share of variance explained")
    parser.add_argument("--seed", type=int, default=1, help="of the drawn data")
    parser.add_argument("--data", type=Path, default=Path("/dev/null"), help="CSV file; /dev/null: draw")
    options = parser.parse_args()

    table = load(options.data, options.seed)
    answers = mlflow.pyfunc.load_model(options.model_uri).predict(table[COLUMNS])
    r2 = float(r2_score(table[TARGET], answers))
    rmse = float(root_mean_squared_error(table[TARGET], answers))
    with mlflow.start_run():
        mlflow.log_metrics({"r2": r2, "rmse": rmse})
    verdict = "accepted" if r2 >= options.min_r2 else "refused"
    print(f"{options.model_uri} on {len(table)} wines: r2={r2:.3f} rmse={rmse:.3f}")
    print(f"{verdict}: the least r2 is {options.min_r2}")
    return 0 if r2 >= options.min_r2 else 1


if __name__ == "__main__":
    raise SystemExit(main())
