"""The first `import mlflow` of a process, which may fail and be tried again."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

_importing = threading.Lock()


def imported() -> ModuleType:
    """MLflow. Raises what its import raises; the next call then begins afresh.

    Python forgets a package whose import failed, but keeps those of its modules that were complete. A second import
    would find them without their package, and fail for that reason however often it is tried.
    """
    with _importing:
        try:
            import mlflow  # noqa: PLC0415
        except BaseException:
            _forget_orphans()
            raise
        module: ModuleType = mlflow
        return module


def _forget_orphans() -> None:
    """Every module whose package is not there, whichever of MLflow's own imports failed."""
    for name in sorted(sys.modules):
        package = name.rpartition(".")[0]
        if package and package not in sys.modules:
            del sys.modules[name]
