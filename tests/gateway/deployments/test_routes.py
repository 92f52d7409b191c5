"""Which path leads to which model, in which protocol."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from legion.gateway.deployments.routes import Routes
from legion.gateway.protocols.legion_rest import LEGION_REST
from legion.gateway.protocols.mlflow import MLFLOW
from legion.gateway.protocols.open_inference import OPEN_INFERENCE
from legion.gateway.protocols.table import PROTOCOLS


def deployment(name: str) -> Any:
    return SimpleNamespace(name=name, has=lambda version: version == "3")


def find(routes: Routes, path: str, method: str = "POST") -> Any:
    found = routes.find({"method": method, "path": path})
    return None if found is None else (found[0].name, found[1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_has_its_path_for_every_model(protocol: Any) -> None:
    routes = Routes()
    for name in ("one", "two"):
        routes.mount(deployment(name))
    for name in ("one", "two"):
        path = protocol.path.format(name=name)
        assert find(routes, path) == (name, protocol)
        assert find(routes, path, "GET") is None
    assert find(routes, protocol.path.format(name="three")) is None


def test_the_only_model_answers_at_the_root() -> None:
    routes, one, two = Routes(), deployment("one"), deployment("two")
    routes.mount(one)
    assert find(routes, "/invocations") == ("one", MLFLOW)
    assert find(routes, "/api/model/invoke") == ("one", LEGION_REST)
    routes.mount(two)
    assert find(routes, "/invocations") is None
    routes.unmount(one)
    assert find(routes, "/invocations") == ("two", MLFLOW)


def test_a_version_by_its_name() -> None:
    routes = Routes()
    routes.mount(deployment("one"))
    assert find(routes, "/v2/models/one/versions/3/infer") == ("one", OPEN_INFERENCE)
    assert find(routes, "/v2/models/one/versions/4/infer") is None
    assert find(routes, "/v2/models/two/versions/3/infer") is None
    assert find(routes, "/v2/models/one/versions/3/infer/more") is None
