"""MLflow's own scoring server for several models at once: each under /<its folder's name>, on one socket.

Run as a process: `reference_server.py SOCKET_DESCRIPTOR FOLDER...`; prints a line when it listens.
"""

from __future__ import annotations

import logging
import socket
import sys
import warnings
from pathlib import Path

import mlflow.pyfunc
import uvicorn
from fastapi import FastAPI
from mlflow.pyfunc import scoring_server


class _Announcing(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print("listening", flush=True)


def main(descriptor: int, folders: list[Path]) -> None:
    """Serve until terminated."""
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    app = FastAPI()
    for folder in folders:
        app.mount(f"/{folder.name}", scoring_server.init(mlflow.pyfunc.load_model(str(folder))))
    config = uvicorn.Config(app, log_level="critical", access_log=False)
    _Announcing(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
