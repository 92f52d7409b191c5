"""`mlflow deployments run-local -t legion`: a model served on this machine until the caller ends it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping
from typing import Any

import msgspec

from legion.api import background
from legion.api.serve_settings import ServeSettings, as_options
from legion.errors import OutsideError, UsageError
from legion.mlflow_deployments.target import as_mlflow


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, Any] | None = None) -> None:
    """Run `legion serve` for this model until it ends or is interrupted. `config`: its options, such as port or env.

    It ends with the calling process, however that ends. Raises MlflowException.
    """
    with as_mlflow():
        code = _serve([*as_options(_settings(config or {})), "--", f"{name}={model_uri}"])
        if code:
            raise OutsideError(f"legion serve ended with exit code {code}; see its messages above")


def _settings(config: Mapping[str, Any]) -> ServeSettings:
    """The config's values, which the command line gives as text."""
    known = ServeSettings.__struct_fields__
    unknown = [option for option in config if option not in known]
    if unknown:
        raise UsageError(f"unknown config {unknown[0]!r} for run-local; it takes {', '.join(known)}")
    try:
        return msgspec.convert(dict(config), ServeSettings, strict=False, dec_hook=lambda kind, value: kind(value))
    except msgspec.ValidationError as error:
        raise UsageError(f"the config cannot be read: {error}; see mlflow deployments help -t legion") from None


def _serve(arguments: list[str]) -> int:
    process, lifeline = background.start(["serve", *arguments])
    with lifeline:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The usual way to end it.
            process.send_signal(signal.SIGTERM)
            process.wait()
            return 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
