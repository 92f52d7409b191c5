"""Paths that are no predictions: whatever host, path or slash a caller makes up."""

from __future__ import annotations

import pytest
from stub_gateway import run, serving
from stub_server import request

PATHS = (
    "/",
    "/docs",
    "/docs/",
    "/docs/assets",
    "/health/",
    "/invocations/",
    "/metrics/",
    "/models",
    "/models/wine",
    "/models/wine/docs/",
    "/models/wine/api/model/info/",
    "/models/none/docs",
    "/openapi.json",
    "/v2",
    "/v2/",
    "/v2/models/wine/",
    "/v2/models/none",
    "/v2/health/ready/",
    "/admin",
    "/admin/",
    "/admin/deployments/",
    "/admin/deployments/wine/",
    "//evil.example/",
    "//evil.example",
    "/nothing",
)
HOSTS = ("evil.example", "evil.example:80", "[", "[::1", "x]:[", "a b", "")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_no_answer_leads_to_the_host_that_a_caller_named(method: str) -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await stub.http.connect()
            for path in PATHS:
                for host in HOSTS:
                    asked = request(b"{}", method=method, path=path).replace(b"Host: x", b"Host: " + host.encode())
                    caller.send(asked)
                    answer = await caller.answer()
                    assert answer.status < 500, (path, host)
                    assert answer.headers.get("location", "docs") == "docs", (path, host)
                    assert b"evil.example" not in answer.body or path.startswith(("//", "/admin"))

    run(scenario())


@pytest.mark.parametrize("host", ["evil.example", "[", "[::1", "x]:[", ""])
def test_the_admin_api_refuses_a_host_that_is_not_its_own(host: str) -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await stub.http.connect()
            fields = (b"Authorization: Bearer token", b"Connection: close")
            asked = request(b"", *fields, method="GET", path="/admin/deployments")
            caller.send(asked.replace(b"Host: x", b"Host: " + host.encode()))
            answer = await caller.answer()
            assert answer.status == 403
            assert b"is not this gateway's" in answer.body

    run(scenario())


@pytest.mark.parametrize("origin", ["http://evil.example", "http://[", "null", "localhost"])
def test_the_admin_api_refuses_an_origin_that_is_not_its_own(origin: str) -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await stub.http.connect()
            fields = (b"Authorization: Bearer token", b"Origin: " + origin.encode())
            asked = request(b"", *fields, method="GET", path="/admin/deployments")
            caller.send(asked.replace(b"Host: x", b"Host: localhost"))
            answer = await caller.answer()
            assert answer.status == 403
            assert b"another origin" in answer.body

    run(scenario())


def test_what_may_pass_says_when_to_try_again() -> None:
    async def scenario() -> None:
        async with serving(answers=False) as stub:
            caller = await stub.http.connect()
            for path in (
                "/ping",
                "/health",
                "/healthcheck",
                "/models/wine/ping",
                "/api/model/info",
                "/v2/health/ready",
                "/v2/models/wine",
                "/v2/models/wine/ready",
            ):
                caller.send(request(b"", method="GET", path=path))
                answer = await caller.answer()
                assert (answer.status, answer.headers.get("retry-after")) == (503, "1"), path

    run(scenario())


def test_a_long_path_is_repeated_in_part_only() -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await stub.http.connect()
            caller.send(request(b"", method="GET", path="/" + "a" * 20_000))
            answer = await caller.answer()
            assert answer.status == 404
            assert len(answer.body) < 400

    run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "most"),
    [
        ("PUT", "/admin/deployments/wine", 1024 * 1024),
        ("POST", "/admin/deployments/wine/rollback", 1024 * 1024),
        ("POST", "/v2/repository/index", 64 * 1024),
    ],
)
def test_a_body_that_is_too_large(method: str, path: str, most: int) -> None:
    async def scenario() -> None:
        async with serving() as stub:
            caller = await stub.http.connect()
            asked = request(b" " * (most + 1), b"Authorization: Bearer token", method=method, path=path)
            caller.send(asked.replace(b"Host: x", b"Host: localhost"))
            answer = await caller.answer()
            assert answer.status == 413
            assert b"over the limit" in answer.body

    run(scenario())
