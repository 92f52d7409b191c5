"""A model as MLServer's scikit-learn runtime wants it: mlserver_folder.py MODEL_FOLDER FOLDER BATCH.

With BATCH over 0 it merges up to so many requests, waiting 1 ms at most.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
import skops.io


def main(source: Path, home: Path, batch: int) -> None:
    """Write FOLDER/model.joblib and FOLDER/model-settings.json."""
    home.mkdir(parents=True, exist_ok=True)
    model = skops.io.load(source / "model.skops")
    # Rows come as arrays in this order; without names scikit-learn does not warn about it at every call.
    del model.feature_names_in_
    joblib.dump(model, home / "model.joblib")
    settings = {
        "name": "wine",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
    }
    if batch:
        settings |= {"max_batch_size": batch, "max_batch_time": 0.001}
    (home / "model-settings.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
