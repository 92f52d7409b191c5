"""`mlflow deployments run-local -t legion`: a model served by this machine until the caller ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from legion.errors import OutsideError, UsageError
from legion.mlflow_deployments.target import as_mlflow
from legion.stack import keeper

_OPTIONS = ("port", "host", "workers", "env")


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, Any] | None = None) -> None:
    """Run `legion serve` for this model until it ends or is interrupted. `config`: port, host, workers, env.

    It ends with the calling process, however that ends. Raises MlflowException.
    """
    with as_mlflow():
        unknown = [option for option in config or {} if option not in _OPTIONS]
        if unknown:
            raise UsageError(f"run-local knows no config {unknown[0]!r}; it takes {', '.join(_OPTIONS)}")
        options = [f"--{option}={value}" for option, value in (config or {}).items()]
        code = _serve([*options, "--", f"{name}={model_uri}"])
        if code:
            raise OutsideError(f"legion serve ended with {code}; see its messages above")


def _serve(arguments: list[str]) -> int:
    theirs, ours = os.pipe()
    try:
        command = [sys.executable, "-P", "-m", "legion.cli.main", "serve", *arguments]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(theirs), *command],
            pass_fds=(theirs,),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Ctrl-C is how it is meant to end.
            process.send_signal(signal.SIGTERM)
            process.wait()
            return 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
    finally:
        os.close(theirs)
        os.close(ours)
