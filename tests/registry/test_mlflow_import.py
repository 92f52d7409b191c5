"""An `import mlflow` that failed is tried again from the beginning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Fails the first import of one module, as a full table of open files would.
SCRIPT = """
import importlib.abc
import sys

from legion.errors import RegistryError
from legion.registry.client import connect

class Once(importlib.abc.MetaPathFinder):
    done = False

    def find_spec(self, name, path, target=None):
        if name == sys.argv[1] and not self.done:
            self.done = True
            raise OSError(24, "too many open files")

sys.meta_path.insert(0, Once())
try:
    connect(sys.argv[2])
except RegistryError as error:
    print(error)
print(type(connect(sys.argv[2])).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["mlflow.exceptions", "mlflow.tracking.client", "pandas.core.frame"])
def test_the_second_import_is_whole(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, module, f"sqlite:///{tmp_path}/store.db"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    failure, client = done.stdout.splitlines()
    assert "too many open files" in failure
    assert client == "MlflowClient"
