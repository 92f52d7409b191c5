"""A process that registers: started by test_registering_at_once.py, several at a time."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from legion.registry.client import require_mlflow
from legion.registry.store import push


def main(uri: str, name: str, gate: str, paths: list[str]) -> None:
    """Say that all is imported, wait for the gate, then push all paths at once; prints [version, created] pairs."""
    require_mlflow("this test")
    import mlflow

    print(f"ready with {mlflow.__version__}", flush=True)
    while not Path(gate).exists():
        time.sleep(0.01)
    with ThreadPoolExecutor(len(paths)) as pool:
        made = list(pool.map(lambda path: push(Path(path), name, tracking_uri=uri), paths))
    print(json.dumps([[int(version.version), version.created] for version in made]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
