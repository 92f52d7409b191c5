"""Stages: deprecated in MLflow, and still what many deployments read."""

from __future__ import annotations

import warnings
from typing import Any

from legion.registry.contention import patiently

STAGES = ("Staging", "Production", "Archived")
# These mean one version: models:/NAME/STAGE is the newest in it, which need not be the one put there last.
_FOR_ONE = ("Staging", "Production")


def move(client: Any, name: str, stage: str, version: str) -> None:
    """Put a version into a stage; what was in Staging or Production before is archived."""

    def call() -> None:
        with warnings.catch_warnings():
            # To use stages is for who asks for one to decide.
            warnings.simplefilter("ignore", FutureWarning)
            client.transition_model_version_stage(name, version, stage, archive_existing_versions=stage in _FOR_ONE)

    patiently(call)


def newest(client: Any, name: str, stage: str | None) -> list[Any]:
    """The newest version in a stage, or of each stage where it is None; empty where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return list(client.get_latest_versions(name, None if stage is None else [stage]))
