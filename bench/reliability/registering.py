"""A process that registers, several of it at a time: started by registrations.py.

Says `ready` when all is imported; then takes rounds on standard input, one a line: a registry, a name and the paths
of artifacts as JSON, and pushes all of them at once, each in a thread of its own. Prints [version, created] pairs.
"""

from __future__ import annotations

import json
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow

from legion.registry.store import push


def main() -> None:
    """Until standard input ends."""
    warnings.simplefilter("ignore", FutureWarning)
    print(f"ready with {mlflow.__version__}", flush=True)
    for line in sys.stdin:
        uri, name, paths = json.loads(line)

        def pushed(path: str, name: str = name, uri: str = uri) -> list[object]:
            try:
                version = push(Path(path), name, tracking_uri=uri)
            # Every kind of error is what is counted here.
            except Exception as error:
                return [None, str(error)]
            return [int(version.version), version.created]

        with ThreadPoolExecutor(len(paths)) as pool:
            print(json.dumps(list(pool.map(pushed, paths))), flush=True)


if __name__ == "__main__":
    main()
