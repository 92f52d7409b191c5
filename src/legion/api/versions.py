"""`legion.register` and `legion.promote`: models in MLflow's registry."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from legion.api.event_loop import off_the_loop
from legion.api.settings import cache_folder, say
from legion.artifact.archive import open_artifact
from legion.errors import VerificationError
from legion.provision.check import can_check, check, check_artifact
from legion.registry import promote as promotion
from legion.registry import tags, versions
from legion.registry.promote import Moved
from legion.registry.store import RegisteredVersion, check_names, push


def register(
    artifact: str | PathLike[str],
    name: str,
    *,
    alias: str | None = None,
    stage: str | None = None,
    check: bool | None = None,
    env: str = "auto",
) -> RegisteredVersion:
    """Register an artifact in the registry of MLFLOW_TRACKING_URI, or MLflow's own local one; no run is made.

    The same artifact again gives the version that is there (`created` is False then). `alias` is pointed at it,
    `stage` is Staging, Production or Archived. `check`: whether its golden answers are checked first; None checks
    them where the model's environment is there already.

    Raises VerificationError where the model does not give its golden answers (it is not registered then),
    ArchiveError, UsageError for names that cannot be, RegistryError.
    """
    path = Path(artifact).expanduser()
    check_names(name, alias, stage)
    opened = open_artifact(path)
    golden = None
    if check or (check is None and can_check(opened, env=env, cache=cache_folder())):
        try:
            golden = off_the_loop(lambda: check_artifact(opened, env=env, cache=cache_folder(), say=say))
        except VerificationError as error:
            raise VerificationError(f"not registered: {error}") from None
    return push(path, name, alias=alias, stage=stage, golden=golden)


def promote(
    name: str,
    version: str | int,
    *,
    alias: str | None = None,
    stage: str | None = None,
    force: str | None = None,
    env: str = "auto",
) -> Moved:
    """Let an alias (`champion` where neither is given) or a stage mean this version, if its golden check passes.

    A version that nobody has checked yet is checked first. `force` is a reason to pass the check over; it is
    recorded in the registry. The result's `before` is the version that the alias meant until now.

    Raises RefusedError for a version that has not passed, UsageError, RegistryError.
    """
    if alias is None and stage is None:
        alias = "champion"
    number = str(version)
    if force is None:
        _check(versions.one(name, number), env)
    return promotion.promote(name, number, alias=alias, stage=stage, forced=force)


def _check(version: RegisteredVersion, env: str) -> None:
    """Check a version that has not passed yet, and record what it gave."""
    if version.golden == tags.NO_GOLDEN or tags.has_passed(version.golden):
        return
    text = f"models:/{version.name}/{version.version}"
    try:
        golden = off_the_loop(lambda: check(text, env=env, cache=cache_folder(), say=say, digest=version.digest))
    except VerificationError as error:
        versions.record_golden(version.name, version.version, tags.failed(str(error)))
        raise
    versions.record_golden(version.name, version.version, golden)
