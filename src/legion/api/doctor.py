"""`legion.doctor`: what this machine has, what is missing, and what that would enable."""

from __future__ import annotations

import os

import msgspec

from legion import __version__
from legion.api.settings import cache_folder
from legion.environment import doctor_checks
from legion.environment.doctor_checks import Check as Check


class Diagnosis(msgspec.Struct, frozen=True):
    """All checks; `ok` is False where something that Legion cannot work without is missing."""

    legion: str
    ok: bool
    checks: tuple[Check, ...]


def doctor() -> Diagnosis:
    """Check this machine: each check has a `name`, a `state` (ok, warn or missing), and what to do about it."""
    cache = cache_folder()
    checks = (
        doctor_checks.python(),
        doctor_checks.uv(),
        doctor_checks.cache(cache),
        doctor_checks.disk(cache),
        doctor_checks.descriptors(),
        doctor_checks.package_index(
            os.environ.get("PIP_INDEX_URL"),
            os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL"),
        ),
        doctor_checks.package("mlflow", "mlflow", "train, pack, register, and models:/ and runs:/ references"),
        doctor_checks.tracking(os.environ.get("MLFLOW_TRACKING_URI")),
        doctor_checks.package("boto3", "team", "artifacts in an S3-compatible store"),
        doctor_checks.package(
            "psycopg2", "team", "a PostgreSQL registry (legion up)", distributions=("psycopg2-binary", "psycopg2")
        ),
        doctor_checks.package("pyarrow", "arrow", "predict from and to Parquet and Arrow files"),
        doctor_checks.package("py-rattler", "conda", "environments of conda packages (--env conda)"),
        doctor_checks.program("git", ("git",), ("git", "git"), "train from a git address"),
        doctor_checks.java(os.environ.get("JAVA_HOME")),
        doctor_checks.program(
            "containers", ("docker", "podman"), ("podman", "podman"), "models and projects that name an image"
        ),
    )
    ok = not any(check.necessary and check.state == "missing" for check in checks)
    return Diagnosis(__version__, ok, checks)
