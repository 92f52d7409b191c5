"""The protocols that are spoken. The routes, the refusals and the OpenAPI document are made from this table."""

from __future__ import annotations

from legion.gateway.protocols.legion_rest import LEGION_REST
from legion.gateway.protocols.mlflow import MLFLOW
from legion.gateway.protocols.open_inference import OPEN_INFERENCE
from legion.gateway.protocols.protocol import Protocol

PROTOCOLS: tuple[Protocol, ...] = (MLFLOW, LEGION_REST, OPEN_INFERENCE)
