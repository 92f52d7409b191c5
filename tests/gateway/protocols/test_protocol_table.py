"""What holds for every protocol in the table."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from legion.gateway.http.refusal import Refusal
from legion.gateway.openapi.described_model import DescribedModel
from legion.gateway.openapi.json_schema import PLACE
from legion.gateway.openapi.model_schemas import Bodies
from legion.gateway.protocols.table import PROTOCOLS
from legion.signature import Field, Signature
from legion.wire import Report

STATUSES = (400, 404, 408, 413, 415, 429, 503, 504)


@pytest.fixture(params=PROTOCOLS, ids=lambda protocol: protocol.path)
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def described(protocol: Any) -> dict[str, Any]:
    """The paths of one model in this protocol, and the schemas that they refer to."""
    report = Report(signature=Signature((Field("a", "double"),), (Field("y", "double"),)))
    components = dict(protocol.schemas)
    model = DescribedModel("wine", "/models/wine", ("3",), report, Bodies("wine", report, None, components), components)
    return {"paths": protocol.paths(model) | protocol.server_paths, "components": {"schemas": components}}


def test_the_prediction_is_documented_at_its_path_with_every_refusal(protocol: Any, described: Any) -> None:
    responses = described["paths"][protocol.path.format(name="wine")]["post"]["responses"]
    assert {str(status) for status in STATUSES} <= set(responses)


def test_every_schema_that_is_referred_to_is_there(described: Any) -> None:
    references = set(re.findall(rf'"\$ref":"{PLACE}([^"]*)"', msgspec.json.encode(described).decode()))
    assert references
    assert references <= set(described["components"]["schemas"])


def test_a_refusal_fits_the_documented_error_object(protocol: Any, described: Any) -> None:
    responses = described["paths"][protocol.path.format(name="wine")]["post"]["responses"]
    for status in STATUSES:
        body = msgspec.json.decode(Refusal(status, "so it is").body(protocol))
        assert "so it is" in body.values()
        schema = responses[str(status)]["content"]["application/json"]["schema"]
        name = schema["$ref"].removeprefix(PLACE)
        jsonschema_rs.validate(described["components"]["schemas"][name], body)
        assert set(body) <= set(described["components"]["schemas"][name]["properties"])


def test_no_two_protocols_share_a_path_or_a_codec() -> None:
    for taken in ("path", "codec"):
        assert len({getattr(protocol, taken) for protocol in PROTOCOLS}) == len(PROTOCOLS)
