"""`legion.register`: an artifact as a version in MLflow's registry."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from legion.api.event_loop import off_the_loop
from legion.api.progress import LOGGED, Progress
from legion.api.settings import cache_folder
from legion.artifact.archive import open_artifact
from legion.errors import VerificationError
from legion.provision.check import can_check, check_artifact
from legion.registry.store import RegisteredVersion as RegisteredVersion
from legion.registry.store import check_names as check_names
from legion.registry.store import push


def register(
    artifact: str | PathLike[str],
    name: str,
    *,
    alias: str | None = None,
    stage: str | None = None,
    check: bool | None = None,
    env: str = "auto",
    progress: Progress = LOGGED,
) -> RegisteredVersion:
    """Register an artifact in the registry at MLFLOW_TRACKING_URI, or MLflow's own local one. No run is created.

    Registering the same artifact again returns the existing version (with `created` False). `alias` is pointed at
    the version; `stage` is Staging, Production or Archived. `check`: whether to run the model and compare its answers
    with the recorded ones first; None does so only if the model's environment exists already. `env`: the environment
    for that: auto, local, uv, conda or docker.

    Raises VerificationError where the answers differ (nothing is registered), ArchiveError, UsageError for an invalid
    name, alias or stage, RegistryError.
    """
    path = Path(artifact).expanduser()
    check_names(name, alias, stage)
    golden = None if check is False else _golden(path, check, env, progress)
    return push(path, name, alias=alias, stage=stage, golden=golden)


def _golden(path: Path, required: bool | None, env: str, progress: Progress) -> str | None:
    """The result of the golden check, None where it was not made."""
    artifact, cache = open_artifact(path), cache_folder()
    if not required and not can_check(artifact, env=env, cache=cache):
        progress.say(
            "not checked: the model's environment does not exist yet; --check creates it, as does promoting the version"
        )
        return None
    try:
        return off_the_loop(lambda: check_artifact(artifact, env=env, cache=cache, say=progress.say))
    except VerificationError as error:
        raise VerificationError(f"not registered: {error}") from None
