"""MLServer with its scikit-learn runtime: its own environment, a model as it wants one, how it is started."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import models
from models import BIN, WORK, Model
from servers import PEERS, free_port

LOCK = PEERS / "mlserver.lock"
_ENVIRONMENT = WORK / "mlserver"


def version() -> str:
    """The one in the lock."""
    lines = LOCK.read_text().splitlines()
    return next(line.split("==")[1].split()[0] for line in lines if line.startswith("mlserver=="))


def install() -> None:
    """Make its environment unless the lock is already installed."""
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    models.once(_ENVIRONMENT, "install mlserver", digest, _install)


def _install(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    uv = str(BIN / "uv")
    models.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)])
    models.run([uv, "pip", "install", "--quiet", "--python", str(home), "--require-hashes", "-r", str(LOCK)])


def folder(model: Model, batch: int) -> Path:
    """The model with its settings; with `batch` up to so many requests are merged, within 1 ms."""
    home = WORK / f"mlserver-{model.name}-{batch}"
    models.run([sys.executable, str(PEERS / "mlserver_folder.py"), str(model.folder), str(home), str(batch)])
    return home


def command(home: Path, port: int) -> list[str]:
    """`mlserver start`, told the rest by its variables: predicting in its one process, without a line a request."""
    settings = {
        "HOST": "127.0.0.1",
        "HTTP_PORT": port,
        "GRPC_PORT": free_port(),
        "METRICS_PORT": free_port(),
        "PARALLEL_WORKERS": 0,
        "DEBUG": "false",
    }
    variables = [f"MLSERVER_{name}={value}" for name, value in settings.items()]
    return ["env", *variables, str(_ENVIRONMENT / "bin" / "mlserver"), "start", str(home)]
