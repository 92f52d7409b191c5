"""Every use case, once: the names of the package `legion`, the command line and MLflow's plug-in all lead here.

Each module is loaded when it is first used, so that `from legion import api` costs nothing.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from legion.api import artifacts as artifacts
    from legion.api import cache as cache
    from legion.api import deployments as deployments
    from legion.api import doctor as doctor
    from legion.api import gateway as gateway
    from legion.api import models as models
    from legion.api import packing as packing
    from legion.api import prediction as prediction
    from legion.api import registration as registration
    from legion.api import serving as serving
    from legion.api import stack as stack
    from legion.api import training as training
    from legion.api import up as up

_MODULES = (
    "artifacts",
    "cache",
    "deployments",
    "doctor",
    "gateway",
    "models",
    "packing",
    "prediction",
    "registration",
    "serving",
    "stack",
    "training",
    "up",
)


def __getattr__(name: str) -> ModuleType:
    if name not in _MODULES:
        raise AttributeError(f"module 'legion.api' has no attribute {name!r}")
    return importlib.import_module(f"legion.api.{name}")
