"""One served model as the OpenAPI document describes it, in whichever protocol."""

from __future__ import annotations

from typing import Any

import msgspec

from legion.gateway.openapi.model_schemas import Bodies
from legion.wire import Report


class DescribedModel(msgspec.Struct, frozen=True):
    """`prefix` is `/models/NAME`, or empty where the model answers at the root.

    `versions` are those that a path may name. Schemas that a description brings go into `components`.
    """

    name: str
    prefix: str
    versions: tuple[str, ...]
    report: Report
    bodies: Bodies
    components: dict[str, Any]
