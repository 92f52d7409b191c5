"""Train a model of wine quality and log it to MLflow with its signature and an input example."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import infer_signature
from sklearn.base import RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import ElasticNet
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from wine_data import COLUMNS, TARGET, load


def arguments() -> argparse.Namespace:
    """The command line; every option is a parameter of the entry point `main`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alpha", type=float, default=0.1, help="strength of the penalty (elasticnet)")
    parser.add_argument("--l1-ratio", type=float, default=0.5, help="its L1 share, 0 to 1 (elasticnet)")
    parser.add_argument("--model", choices=("elasticnet", "forest"), default="elasticnet")
    parser.add_argument("--trees", type=int, default=100, help="number of trees (forest)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn data, the split and the forest")
    parser.add_argument("--data", type=Path, default=Path("/dev/null"), help="CSV file; /dev/null: draw")
    return parser.parse_args()


def regressor(options: argparse.Namespace) -> RegressorMixin:
    """The model that the options name, not yet fitted."""
    if options.model == "forest":
        return RandomForestRegressor(options.trees, random_state=options.seed, n_jobs=-1)
    return ElasticNet(alpha=options.alpha, l1_ratio=options.l1_ratio, random_state=options.seed)


def requirements() -> list[str]:
    """What the logged model needs, at the versions that trained it."""
    return [f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")]


def trusted(options: argparse.Namespace) -> dict[str, list[str]]:
    """The types that a forest is made of and that skops, MLflow's format, loads only when they are named."""
    return {"skops_trusted_types": ["sklearn.tree._tree.Tree"]} if options.model == "forest" else {}


def main() -> None:
    """Train, measure on a quarter that was held back, log."""
    options = arguments()
    table = load(options.data, options.seed)
    train, test = train_test_split(table, random_state=options.seed)
    with mlflow.start_run() as run:
        # Run as a project, the parameters are in the run already, spelt as they were given.
        given = run.data.params
        mlflow.log_params({name: value for name, value in vars(options).items() if name not in given})
        model = regressor(options).fit(train[COLUMNS], train[TARGET])
        if isinstance(model, RandomForestRegressor):
            model.n_jobs = None  # One row at a time, threads only cost.
        answers = np.asarray(model.predict(test[COLUMNS]))
        metrics = {
            "rmse": root_mean_squared_error(test[TARGET], answers),
            "mae": mean_absolute_error(test[TARGET], answers),
            "r2": r2_score(test[TARGET], answers),
        }
        mlflow.log_metrics(metrics)
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(test[COLUMNS], answers),
            input_example=test[COLUMNS].head(5).reset_index(drop=True),
            # Named, so that MLflow need not load the model once more to find out: saves half the run's time.
            pip_requirements=requirements(),
            **trusted(options),
        )
    print(f"{options.model} on {len(train)} wines:", *(f"{name}={value:.3f}" for name, value in metrics.items()))


if __name__ == "__main__":
    main()
