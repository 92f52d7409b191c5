"""Start a worker by path, in whatever environment the model needs: `python …/legion/worker/__main__.py`.

Legion need not be installed there: the package is taken from beside this file, and nothing else of the
installation it lies in gets onto the path.
"""

import importlib.util
import sys
from pathlib import Path


def _borrow_package() -> None:
    package = Path(__file__).resolve().parent.parent
    own = str(package / "worker")
    sys.path[:] = [entry for entry in sys.path if entry != own]
    spec = importlib.util.spec_from_file_location(
        "legion", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"the package at {package} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules["legion"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _borrow_package()
    from legion.worker.main import main

    main(sys.argv[1:])
