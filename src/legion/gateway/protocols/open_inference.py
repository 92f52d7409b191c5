"""The Open Inference Protocol, version 2: `POST /v2/models/NAME/infer`; its gRPC service speaks it as well."""

from __future__ import annotations

import re
from typing import Any

from legion import wire
from legion.gateway.openapi import v2_paths
from legion.gateway.openapi.v2_components import COMPONENTS
from legion.gateway.protocols.protocol import Protocol


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": message}


OPEN_INFERENCE = Protocol(
    codec=wire.OPEN_INFERENCE,
    path="/v2/models/{name}/infer",
    path_of_version=re.compile(
        r"/v2/models/(?P<name>[A-Za-z0-9_-]{1,63})/versions/(?P<version>[A-Za-z0-9._-]{1,140})/infer"
    ),
    error=_error,
    schemas=COMPONENTS,
    paths=v2_paths.model,
    server_paths=v2_paths.server(),
    binary_header=b"inference-header-content-length",
    compresses=True,
)
