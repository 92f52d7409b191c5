"""What there is to know of a protocol in which predictions are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from legion.gateway.openapi.described_model import DescribedModel
from legion.gateway.openapi.json_schema import Schema


class Protocol(msgspec.Struct, frozen=True):
    """A protocol over HTTP.

    `codec` is its number in `wire`, by which the worker finds its codec. `path` is where a model is asked, with
    `{name}` for its name; at `path_alone` the only model is asked as well. `path_of_version` matches paths that also
    name a version, with the groups `name` and `version`. `error` makes the error object for a status and a message.
    `binary_header` gives the length of a body's JSON where binary data may follow it. With `compresses`, answers are
    compressed for callers that accept gzip.

    For the OpenAPI document: `schemas` are its components, `paths` describes one model's paths, and `server_paths` are
    the paths that belong to no model.
    """

    codec: int
    path: str
    error: Callable[[int, str], dict[str, Any]]
    schemas: dict[str, Schema]
    paths: Callable[[DescribedModel], dict[str, Any]]
    server_paths: dict[str, Any] = {}
    path_alone: str | None = None
    path_of_version: re.Pattern[str] | None = None
    binary_header: bytes | None = None
    compresses: bool = False
