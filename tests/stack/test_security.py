"""Whom MLflow's server answers, and what may be registered there."""

from __future__ import annotations

import re

import pytest

from legion.errors import UsageError
from legion.stack import security


def test_on_loopback_only_loopback_names_with_the_port_are_answered() -> None:
    assert set(security.allowed_hosts("127.0.0.1", 5000)) == {"localhost:5000", "127.0.0.1:5000", "[::1]:5000"}


def test_on_one_address_only_that_is_answered() -> None:
    assert security.allowed_hosts("10.1.2.3", 5000) == ("10.1.2.3:5000",)
    assert security.allowed_hosts("fd00::1", 5000) == ("[fd00::1]:5000",)


def test_on_every_address_this_machines_own_names_are_answered() -> None:
    import socket

    hosts = security.allowed_hosts("0.0.0.0", 5000)
    assert f"{socket.gethostname().lower()}:5000" in hosts
    assert "localhost:5000" in hosts
    assert not any("*" in host for host in hosts)


def test_port_80_stands_in_no_header() -> None:
    assert "localhost" in security.allowed_hosts("127.0.0.1", 80)


def test_a_further_name_is_answered_with_and_without_the_port() -> None:
    hosts = security.allowed_hosts("127.0.0.1", 5000, ("mlflow.example.com", "proxy:8443"))
    assert {"mlflow.example.com", "mlflow.example.com:5000", "proxy:8443"} <= set(hosts)
    assert "proxy:8443:5000" not in hosts


@pytest.mark.parametrize("name", ["*", "*.example.com", "a,b", "", "a b", "http://a", "[*]"])
def test_a_pattern_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="allowed-host"):
        security.allowed_hosts("127.0.0.1", 5000, (name,))


@pytest.mark.parametrize(
    "source",
    [
        "mlflow-artifacts:/0/models/m-1/artifacts",
        "runs:/abc/model",
        "models:/m-1",
        "dummy-source",
        "prompt-template",
        "s3://bucket/team/0/models/m-1/artifacts",
    ],
)
def test_the_stacks_own_sources_may_be_registered(source: str) -> None:
    # As mlflow/server/handlers.py asks.
    assert re.search(security.source_pattern(["s3://bucket/team/"]), source)


@pytest.mark.parametrize(
    "source",
    [
        "s3://elsewhere/x",
        "s3://bucket/teams/x",
        "s3://bucket",
        "S3://bucket/other",
        "/etc",
        "file:///etc",
        "http://169.254.169.254/latest",
        "x mlflow-artifacts:/0",
        "x\nmodels:/m-1",
        "dummy-source/../../etc",
        "gs://bucket/x",
    ],
)
def test_no_other_source_may(source: str) -> None:
    assert not re.search(security.source_pattern(["s3://bucket/team"]), source)


def test_mlflow_writes_the_prompt_sources_that_are_let_through() -> None:
    from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS

    assert set(security._PROMPTS) == set(_PROMPT_SOURCE_PLACEHOLDERS)
