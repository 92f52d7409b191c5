"""White wine: eleven measurements and a quality mark from 0 to 10, drawn or read from a file.

The statistics are those of the white wines in P. Cortez, A. Cerdeira, F. Almeida, T. Matos, J. Reis,
"Modeling wine preferences by data mining from physicochemical properties", Decision Support Systems
47(4), 2009, 547-553.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

TARGET = "quality"
ROWS = 4898

# Column → mean, standard deviation, smallest, largest, decimals.
STATISTICS = {
    "fixed acidity": (6.855, 0.844, 3.8, 14.2, 1),
    "volatile acidity": (0.278, 0.101, 0.08, 1.1, 2),
    "citric acid": (0.334, 0.121, 0.0, 1.66, 2),
    "residual sugar": (6.391, 5.072, 0.6, 65.8, 1),
    "chlorides": (0.046, 0.022, 0.009, 0.346, 3),
    "free sulfur dioxide": (35.31, 17.01, 2.0, 289.0, 0),
    "total sulfur dioxide": (138.4, 42.5, 9.0, 440.0, 0),
    "density": (0.99403, 0.00299, 0.98711, 1.03898, 5),
    "pH": (3.188, 0.151, 2.72, 3.82, 2),
    "sulphates": (0.490, 0.114, 0.22, 1.08, 2),
    "alcohol": (10.51, 1.231, 8.0, 14.2, 1),
}
COLUMNS = list(STATISTICS)
# Far from symmetric, so drawn from a log-normal distribution of the same mean and deviation.
SKEWED = ("volatile acidity", "residual sugar", "chlorides", "sulphates")
# Pearson's correlations, lower triangle, in the order of COLUMNS.
CORRELATIONS = (
    (),
    (-0.02,),
    (0.29, -0.15),
    (0.09, 0.06, 0.09),
    (0.02, 0.07, 0.11, 0.09),
    (-0.05, -0.10, 0.09, 0.30, 0.10),
    (0.09, 0.09, 0.12, 0.40, 0.20, 0.62),
    (0.27, 0.03, 0.15, 0.84, 0.26, 0.29, 0.53),
    (-0.43, -0.03, -0.16, -0.19, -0.09, 0.00, 0.00, -0.09),
    (-0.02, -0.04, 0.06, -0.03, 0.02, 0.06, 0.13, 0.07, 0.16),
    (-0.12, 0.07, -0.08, -0.45, -0.36, -0.25, -0.45, -0.78, 0.12, -0.02),
)
# The linear fit of quality on the standardised columns, and what it leaves unexplained.
QUALITY_MEAN, QUALITY_NOISE = 5.878, 0.75
QUALITY_WEIGHTS = (0.055, -0.188, 0.003, 0.413, -0.005, 0.063, -0.012, -0.449, 0.104, 0.072, 0.238)


def draw(seed: int, rows: int = ROWS) -> pd.DataFrame:
    """`rows` wines that never were: the eleven columns and `quality`, all float64; same seed, same wines."""
    random = np.random.default_rng(seed)
    size = len(COLUMNS)
    correlation = np.eye(size)
    for row, values in enumerate(CORRELATIONS):
        correlation[row, : len(values)] = correlation[: len(values), row] = values
    normal = random.multivariate_normal(np.zeros(size), correlation, size=rows)
    table = {}
    for position, (name, (mean, deviation, smallest, largest, decimals)) in enumerate(STATISTICS.items()):
        if name in SKEWED:
            log_variance = np.log1p((deviation / mean) ** 2)
            drawn = mean * np.exp(normal[:, position] * np.sqrt(log_variance) - log_variance / 2)
        else:
            drawn = mean + deviation * normal[:, position]
        table[name] = np.clip(drawn, smallest, largest).round(decimals)
    quality = QUALITY_MEAN + normal @ np.array(QUALITY_WEIGHTS) + random.normal(0.0, QUALITY_NOISE, rows)
    return pd.DataFrame(table | {TARGET: np.clip(quality, 0, 10).round()})


def read(path: Path) -> pd.DataFrame:
    """A CSV file with the eleven columns and `quality`, separated by commas or semicolons, as float64."""
    with path.open(encoding="utf-8") as lines:
        separator = ";" if ";" in lines.readline() else ","
    table = pd.read_csv(path, sep=separator)
    missing = [name for name in [*COLUMNS, TARGET] if name not in table.columns]
    if missing:
        raise SystemExit(f"{path} lacks the column {', '.join(missing)}")
    return table[[*COLUMNS, TARGET]].astype("float64")


def load(path: Path, seed: int) -> pd.DataFrame:
    """The file's wines, or drawn ones where `path` is /dev/null."""
    return draw(seed) if path == Path("/dev/null") else read(path)
