"""What would be started: decided by looking, and without a secret on a command line."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from legion.errors import MissingExtraError, UsageError
from legion.stack import plan as plans
from legion.stack.plan import Plan, Wish


def plan(tmp_path: Path, environ: dict[str, str] | None = None, **wishes: object) -> Plan:
    wish = Wish("127.0.0.1", 5000, 5001, tmp_path / "stack", tmp_path, **wishes)  # type: ignore[arg-type]
    return plans.plan(wish, environ or {})


def test_by_default_all_is_kept_under_the_data_folder(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert made.mlflow.environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/stack/mlflow.db"
    assert made.mlflow.environment["MLFLOW_ARTIFACTS_DESTINATION"] == f"{tmp_path}/stack/artifacts"
    assert made.mlflow.environment["MLFLOW_SERVE_ARTIFACTS"] == "true"
    assert "MLFLOW_DEFAULT_ARTIFACT_ROOT" not in made.mlflow.environment
    assert not made.direct


def test_on_every_address_others_are_told_the_machines_name(tmp_path: Path) -> None:
    import socket

    everywhere = Wish("0.0.0.0", 5000, 5001, tmp_path / "stack", tmp_path)
    made = plans.plan(everywhere, {})
    assert made.for_others == f"http://{socket.gethostname().lower()}:5000"
    assert made.tracking_uri == "http://127.0.0.1:5000"
    assert made.gateway.health == "http://127.0.0.1:5001/health"
    assert plan(tmp_path).for_others is None


def test_the_gateway_is_told_how_much_memory_it_may_use(tmp_path: Path) -> None:
    assert "--memory" not in plan(tmp_path).gateway.command
    assert plan(tmp_path, memory="512MiB").gateway.command[-2:] == ("--memory", "512MiB")


def test_a_password_is_in_no_command_nor_in_what_is_shown(tmp_path: Path) -> None:
    uri = "postgresql://legion:p%40ss-word@db.example/mlflow"
    made = plan(tmp_path, {"AWS_SECRET_ACCESS_KEY": "aws-secret"}, backend_store_uri=uri)
    shown = " ".join((*made.mlflow.command, *made.gateway.command, made.database, made.artifacts))
    assert "ss-word" not in shown
    assert made.database == "postgresql://***@db.example/mlflow"
    assert made.mlflow.environment["MLFLOW_BACKEND_STORE_URI"] == uri.replace("postgresql:", "postgresql+psycopg2:")
    assert {"p%40ss-word", "p@ss-word", "aws-secret"} == set(made.secrets)


def test_the_gateway_is_not_told_the_database(tmp_path: Path) -> None:
    uri = "postgresql://legion:pass-word@db.example/mlflow"
    made = plan(
        tmp_path, {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_REGISTRY_URI": "http://else"}, backend_store_uri=uri
    )
    assert "pass-word" not in str(made.gateway)
    assert made.gateway.environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert "MLFLOW_REGISTRY_URI" not in made.gateway.environment


def test_what_the_environment_says_does_not_loosen_the_server(tmp_path: Path) -> None:
    loose = {
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "*",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "NONE",
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": ".*",
        "MLFLOW_STATIC_PREFIX": "/elsewhere",
        "MLFLOW_TRACKING_URI": "http://elsewhere",
    }
    environment = plan(tmp_path, loose).mlflow.environment
    assert environment["MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"] == "false"
    assert "*" not in environment["MLFLOW_SERVER_ALLOWED_HOSTS"] + environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"]
    assert environment["MLFLOW_SERVER_X_FRAME_OPTIONS"] == "DENY"
    assert environment["MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX"] != ".*"
    assert not {"MLFLOW_STATIC_PREFIX", "MLFLOW_TRACKING_URI"} & set(environment)


def test_settings_of_the_user_that_loosen_nothing_stay(tmp_path: Path) -> None:
    kept = {"MLFLOW_S3_ENDPOINT_URL": "http://minio:9000", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true"}
    assert plan(tmp_path, kept).mlflow.environment.items() >= kept.items()


@pytest.mark.parametrize(
    ("wishes", "root", "served"),
    [
        ({"artifacts_destination": "s3://b/m"}, None, "true"),
        ({"artifacts_destination": "s3://b/m", "serve_artifacts": False}, "s3://b/m", "false"),
        ({"default_artifact_root": "s3://b/m"}, "s3://b/m", "true"),
        ({"default_artifact_root": "s3://b/m", "serve_artifacts": False}, "s3://b/m", "false"),
    ],
)
def test_artifacts_by_the_server_or_direct(
    tmp_path: Path, wishes: dict[str, Any], root: str | None, served: str
) -> None:
    made = plan(tmp_path, **wishes)
    assert made.mlflow.environment.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") == root
    assert made.mlflow.environment["MLFLOW_SERVE_ARTIFACTS"] == served
    assert made.artifacts == "s3://b/m"
    assert made.direct == (root is not None)


def test_relative_places_are_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment = plan(tmp_path, backend_store_uri="sqlite:///a/m.db", artifacts_destination="files").mlflow.environment
    assert environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/a/m.db"
    assert environment["MLFLOW_ARTIFACTS_DESTINATION"] == f"{tmp_path}/files"


@pytest.mark.parametrize("uri", ["./mlruns", "file:///mlruns", "http://else:5000"])
def test_what_is_no_database_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(UsageError, match="is no database"):
        plan(tmp_path, backend_store_uri=uri)


@pytest.mark.parametrize(
    ("missing", "wishes"),
    [("psycopg2", {"backend_store_uri": "postgresql://h/d"}), ("boto3", {"artifacts_destination": "s3://b"})],
)
def test_a_missing_library_is_named_by_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, wishes: dict[str, Any]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(MissingExtraError, match=r"legion-ml\[team\]"):
        plan(tmp_path, **wishes)


def test_the_page_shows_the_request_that_is_tested() -> None:
    from test_team_stack import CURL_BODY

    page = (Path(__file__).parents[2] / "docs" / "team-stack.md").read_text()
    assert f"--data '{CURL_BODY}' http://127.0.0.1:5001/models/wine/invocations" in page
