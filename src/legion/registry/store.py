"""Artifacts in MLflow's model registry: push one as a model version, pull any model out.

What is pushed is the artifact's own tree, unpacked: an export from MLflow stays a valid MLflow model, so a
plain MLflow client loads it; packed again, it has the same digest. MLflow 3 wants every version to belong to
a logged model, which belongs to an experiment but needs no run: https://mlflow.org/docs/latest/ml/model-registry
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from legion.artifact.archive import Artifact, open_artifact, unpack
from legion.errors import RegistryError, UsageError
from legion.reference import Reference
from legion.reference import parse as parse_reference
from legion.registry.client import answering, connect

# Holds the logged models that stand behind registered artifacts.
EXPERIMENT = "legion"
DIGEST_TAG = "legion.digest"
VERSION_TAG = "legion.version"
STAGES = ("Staging", "Production", "Archived")


class RegisteredVersion(msgspec.Struct, frozen=True):
    """One version in the registry. `digest` is `sha256:<hex>`, None where a plain MLflow client registered it;
    `created` is False where the registry held the same artifact already."""

    name: str
    version: str
    digest: str | None = None
    aliases: tuple[str, ...] = ()
    stage: str | None = None
    model_id: str | None = None
    created: bool = True


def push(
    path: Path,
    name: str,
    *,
    alias: str | None = None,
    stage: str | None = None,
    tracking_uri: str | None = None,
) -> RegisteredVersion:
    """Register the artifact at `path` under `name`; no experiment run is made.

    The same artifact under the same name again gives the version that is there; the alias and the stage are
    set in either case. Raises ArchiveError, UsageError for a name, alias or stage that cannot be, RegistryError.
    """
    _check_names(name, alias, stage)
    artifact = open_artifact(path)
    client = connect(tracking_uri)
    with answering(f"{path.name} could not be registered as {name}"):
        _make_registered_model(client, name)
        version = _version_of(client, name, artifact.digest)
        created = version is None
        if version is None:
            version = _make_version(client, name, artifact)
        if alias is not None:
            client.set_registered_model_alias(name, alias, version.version)
        if stage is not None:
            # Stages are deprecated in MLflow and still what many deployments read.
            client.transition_model_version_stage(name, version.version, stage)
        return _registered(client.get_model_version(name, version.version), created=created)


def resolve(reference: Reference, *, tracking_uri: str | None = None) -> RegisteredVersion:
    """The version that models:/NAME@ALIAS, /VERSION, /STAGE or /latest means now.

    Raises UsageError for any other reference, RegistryError where there is no such version.
    """
    if reference.scheme != "models" or not (reference.alias or reference.version):
        raise UsageError(
            f"{reference.text!r} names no registered version; use models:/NAME/VERSION or models:/NAME@ALIAS"
        )
    client = connect(tracking_uri)
    with answering(f"{reference.text} was not found"):
        return _registered(_find(client, reference), created=False)


def pull(reference: Reference, into: Path, *, tracking_uri: str | None = None) -> Path:
    """Copy the model that `reference` (models:/, runs:/ or a store's URI) means into the empty folder `into`.

    Returns the folder that holds the model. Raises RegistryError; `into` is left empty then.
    """
    if reference.scheme == "path":
        raise UsageError(f"{reference.text!r} is a path, which needs no registry; give it to legion pack")
    connect(tracking_uri)
    into.mkdir(parents=True, exist_ok=True)
    try:
        with answering(f"{reference.text} could not be fetched"):
            import mlflow.artifacts  # noqa: PLC0415

            found = Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=reference.text, dst_path=str(into), tracking_uri=tracking_uri
                )
            )
    except RegistryError:
        _empty(into)
        raise
    if not found.is_dir():
        _empty(into)
        raise RegistryError(f"{reference.text} is a single file; name the folder that holds the MLmodel file")
    # MLflow leaves this beside the files of a registered model; it is no part of the model.
    (found / "registered_model_meta").unlink(missing_ok=True)
    return found


def _check_names(name: str, alias: str | None, stage: str | None) -> None:
    """Refuse what could be written to the registry and never be referred to."""
    if "/" in name or "@" in name:
        raise UsageError(f"{name!r} cannot be a model's name; leave out / and @")
    parse_reference(f"models:/{name}/1")
    if alias is not None:
        parse_reference(f"models:/{name}@{alias}")
    if stage is not None and stage not in STAGES:
        raise UsageError(f"{stage!r} is no stage; choose {', '.join(STAGES[:-1])} or {STAGES[-1]}")


def _make_registered_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _experiment(client: Any) -> str:
    """The id of Legion's experiment, made where it is not there; two makers at once agree."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id)


def _version_of(client: Any, name: str, digest: str) -> Any | None:
    """The newest ready version of `name` with this digest."""
    found = client.search_model_versions(f"name='{name}' and tag.`{DIGEST_TAG}`='{digest}'")
    ready = [version for version in found if version.status == "READY"]
    return max(ready, key=lambda version: int(version.version), default=None)


def _make_version(client: Any, name: str, artifact: Artifact) -> Any:
    """Upload the artifact's tree as a logged model, then make the version that points at it."""
    manifest = artifact.manifest
    tags = {DIGEST_TAG: artifact.digest, VERSION_TAG: manifest.model.version}
    with tempfile.TemporaryDirectory(prefix="legion-register-") as scratch:
        tree = Path(scratch) / "model"
        unpack(artifact, tree)
        logged = client.create_logged_model(_experiment(client), name=manifest.model.name, tags=tags)
        try:
            client.log_model_artifacts(logged.model_id, str(tree))
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            raise
    client.finalize_logged_model(logged.model_id, "READY")
    return client.create_model_version(name, source=logged.artifact_location, model_id=logged.model_id, tags=tags)


def _find(client: Any, reference: Reference) -> Any:
    name, version = str(reference.name), reference.version
    if reference.alias is not None:
        return client.get_model_version_by_alias(name, reference.alias)
    assert version is not None
    if version.isdigit():
        return client.get_model_version(name, version)
    stages = None if version == "latest" else [version]
    found = client.get_latest_versions(name, stages)
    if not found:
        raise RegistryError(f"{name} has no version in the stage {version}; name a version or an alias")
    return max(found, key=lambda one: int(one.version))


def _registered(version: Any, *, created: bool) -> RegisteredVersion:
    stage = version.current_stage
    return RegisteredVersion(
        name=version.name,
        version=str(version.version),
        digest=version.tags.get(DIGEST_TAG),
        aliases=tuple(version.aliases),
        stage=None if stage in (None, "None") else stage,
        model_id=version.model_id,
        created=created,
    )


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
