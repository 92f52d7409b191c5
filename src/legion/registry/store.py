"""Artifacts in MLflow's model registry: push one as a model version, pull any model out.

What is pushed is the artifact's own tree, unpacked: an export from MLflow stays a valid MLflow model, and any other
module gets Legion's flavor beside it, so a plain MLflow client loads either. MLflow 3 wants every version to belong to
a logged model, which belongs to an experiment but needs no run: https://mlflow.org/docs/latest/ml/model-registry
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from legion.artifact.archive import Artifact, open_artifact, unpack
from legion.errors import RefusedError, RegistryError, UsageError
from legion.reference import Reference
from legion.reference import parse as parse_reference
from legion.registry import aliases, content, flavor, stages, tags
from legion.registry.client import address, answering, connect
from legion.registry.contention import alone, patiently

# Holds the logged models that stand behind registered artifacts.
EXPERIMENT = "legion"
_LOGGED = re.compile(r"(?:models/|models:/)(m-[0-9a-f]{32})(?:/|$)")


class RegisteredVersion(msgspec.Struct, frozen=True):
    """One version in the registry. `digest` is `sha256:<hex>`, None where a plain MLflow client registered it;
    `created` is False where the registry held the same artifact already.

    `golden` is `passed <rows>`, `none` or `failed: <reason>`, None where nobody has checked yet; `environment` is the
    hash of the environment's spec; `refused` is why a gateway did not take it.
    """

    name: str
    version: str
    digest: str | None = None
    aliases: tuple[str, ...] = ()
    stage: str | None = None
    model_id: str | None = None
    created: bool = True
    artifact_version: str | None = None
    toolchain: str | None = None
    environment: str | None = None
    golden: str | None = None
    refused: str | None = None
    made_at: int | None = None


def push(
    path: Path,
    name: str,
    *,
    alias: str | None = None,
    stage: str | None = None,
    golden: str | None = None,
    tracking_uri: str | None = None,
) -> RegisteredVersion:
    """Register the artifact at `path` under `name`; no experiment run is made.

    The same artifact under the same name again gives the version that is there; the alias and the stage are
    set in either case. `golden` is what a check of its golden answers gave (`passed <rows>`, `none`), None where
    none was made. Any number of pushes may run at once; docs/registry.md says what holds then. Raises
    ArchiveError, UsageError for a name, alias or stage that cannot be, RegistryError.
    """
    check_names(name, alias, stage)
    if golden is not None:
        golden = tags.checked_golden(golden)
    artifact = open_artifact(path)
    client = connect(tracking_uri)
    with answering(f"{path.name} could not be registered as {name}"):
        _make_registered_model(client, name)
        with alone("push", *address(), name, artifact.digest):
            version = _version_of(client, name, artifact.digest)
            created = version is None
            if version is None:
                version, created = _make_version(client, name, artifact, golden)
        number = str(version.version)
        if golden is not None and version.tags.get(tags.GOLDEN) != golden:
            patiently(lambda: client.set_model_version_tag(name, number, tags.GOLDEN, golden))
        if alias is not None:
            aliases.move(client, name, alias, number)
        if stage is not None:
            stages.move(client, name, stage, number)
        return registered(patiently(lambda: client.get_model_version(name, number)), created=created)


def resolve(reference: Reference, *, tracking_uri: str | None = None) -> RegisteredVersion:
    """The version that models:/NAME@ALIAS, /VERSION, /STAGE or /latest means now.

    Raises UsageError for any other reference, RegistryError where there is no such version.
    """
    if not _names_version(reference):
        raise UsageError(
            f"{reference.text!r} names no registered version; use models:/NAME/VERSION or models:/NAME@ALIAS"
        )
    client = connect(tracking_uri)
    with answering(f"{reference.text} was not found"):
        return registered(_find(client, reference), created=False)


def pull(reference: Reference, into: Path, *, tracking_uri: str | None = None) -> Path:
    """Copy the model that `reference` (models:/, runs:/ or a store's URI) means into the empty folder `into`.

    Returns the folder that holds the model. What Legion registered comes back file for file as it was pushed.
    Raises VerificationError where it is not that any more, RegistryError; `into` is left empty then.
    """
    if reference.scheme == "path":
        raise UsageError(f"{reference.text!r} is a path, which needs no registry; give it to legion pack")
    client = connect(tracking_uri)
    into.mkdir(parents=True, exist_ok=True)
    try:
        with answering(f"{reference.text} could not be fetched"):
            uri, expected = _pinned(client, reference)
            found = _download(uri, into, tracking_uri)
            _clean(found, reference, expected)
    except (RegistryError, RefusedError):
        _empty(into)
        raise
    return found


def _names_version(reference: Reference) -> bool:
    return reference.scheme == "models" and bool(reference.alias or reference.version)


def _pinned(client: Any, reference: Reference) -> tuple[str, str | None]:
    """The URI to download, which cannot move meanwhile, and the hash of what must come (None where unknown)."""
    if _names_version(reference):
        version = _find(client, reference)
        return f"models:/{version.name}/{version.version}", version.tags.get(tags.CONTENT)
    if reference.scheme == "models":
        return reference.text, client.get_logged_model(reference.name).tags.get(tags.CONTENT)
    return reference.text, None


def _download(uri: str, into: Path, tracking_uri: str | None) -> Path:
    import mlflow.artifacts  # noqa: PLC0415

    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(into), tracking_uri=tracking_uri))


def _clean(found: Path, reference: Reference, expected: str | None) -> None:
    """Leave in the folder what was pushed, and nothing else."""
    if not found.is_dir():
        raise RegistryError(f"{reference.text} is a single file; name the folder that holds the MLmodel file")
    if expected is not None:
        content.restore(found, expected, reference.text)
        return
    # MLflow leaves this beside the files of a registered model; it is no part of the model.
    (found / "registered_model_meta").unlink(missing_ok=True)
    content.leave_out_flavor(found)


def check_names(name: str, alias: str | None = None, stage: str | None = None) -> None:
    """Refuse what could be written to the registry and never be referred to. Raises UsageError."""
    if "/" in name or "@" in name:
        raise UsageError(f"{name!r} cannot be a model's name; leave out / and @")
    parse_reference(f"models:/{name}/1")
    if alias is not None:
        parse_reference(f"models:/{name}@{alias}")
    if stage is not None and stage not in stages.STAGES:
        raise UsageError(f"{stage!r} is no stage; choose {', '.join(stages.STAGES[:-1])} or {stages.STAGES[-1]}")


def _make_registered_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    def make() -> None:
        # Asked first: a create that fails holds two of the server's connections to the database at once.
        try:
            client.get_registered_model(name)
            return
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    patiently(make)


def _experiment(client: Any) -> str:
    """The id of Legion's experiment, made where it is not there; two makers at once agree."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    def find_or_make() -> str:
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            try:
                return str(client.create_experiment(EXPERIMENT))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = client.get_experiment_by_name(EXPERIMENT)
        if found.lifecycle_stage != "active":
            number = found.experiment_id
            raise RegistryError(
                f"the experiment {EXPERIMENT} was deleted; run mlflow experiments restore --experiment-id {number}"
            )
        return str(found.experiment_id)

    return patiently(find_or_make)


def _version_of(client: Any, name: str, digest: str) -> Any | None:
    """The oldest ready version of `name` with this digest: the same one for everybody who asks."""
    query = f"name='{name}' and tag.`{tags.DIGEST}`='{digest}'"
    found = patiently(lambda: client.search_model_versions(query))
    ready = [version for version in found if version.status == "READY"]
    return min(ready, key=lambda version: int(version.version), default=None)


def _make_version(client: Any, name: str, artifact: Artifact, golden: str | None) -> tuple[Any, bool]:
    """Upload the artifact's tree as a logged model, then make the version that points at it.

    False beside a version that another machine made of the same artifact in the same moment.
    """
    logged, described = _upload(client, artifact, golden)
    with alone("number", *address(), name):
        made = patiently(
            lambda: client.create_model_version(
                name, source=logged.artifact_location, model_id=logged.model_id, tags=described
            )
        )
    # The lock holds on this machine only. Who made the higher number sees the lower one, and yields.
    first = _version_of(client, name, artifact.digest)
    if first is None or int(first.version) >= int(made.version):
        return made, True
    patiently(lambda: client.delete_model_version(name, str(made.version)))
    patiently(lambda: client.delete_logged_model(logged.model_id))
    return first, False


def _upload(client: Any, artifact: Artifact, golden: str | None) -> tuple[Any, dict[str, str]]:
    """The logged model that holds the artifact's tree, and the tags of the version to be."""
    import mlflow  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="legion-register-") as scratch:
        tree = Path(scratch) / "model"
        unpack(artifact, tree)
        described = tags.describe(artifact, tree, golden)
        flavor.add(tree, artifact.manifest, mlflow.__version__)
        marks = {key: described[key] for key in (tags.DIGEST, tags.CONTENT, tags.VERSION)}
        experiment = _experiment(client)
        logged = patiently(
            lambda: client.create_logged_model(experiment, name=artifact.manifest.model.name, tags=marks)
        )
        try:
            # Files that are there already are written again, the same.
            patiently(lambda: client.log_model_artifacts(logged.model_id, str(tree)))
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            raise
    patiently(lambda: client.finalize_logged_model(logged.model_id, "READY"))
    return logged, described


def _find(client: Any, reference: Reference) -> Any:
    name, version = str(reference.name), reference.version
    if reference.alias is not None:
        return client.get_model_version_by_alias(name, reference.alias)
    assert version is not None
    if version.isdigit():
        return client.get_model_version(name, version)
    found = stages.newest(client, name, None if version == "latest" else version)
    if not found:
        raise RegistryError(f"{name} has no version in the stage {version}; name a version or an alias")
    return max(found, key=lambda one: int(one.version))


def logged_model_of(source: str | None) -> str | None:
    """The id of the logged model that a version's source is; databases keep no other record of it."""
    match = _LOGGED.search(source or "")
    return None if match is None else match[1]


def registered(version: Any, *, created: bool = False) -> RegisteredVersion:
    """MLflow's model version as Legion's."""
    stage, marks = version.current_stage, version.tags
    return RegisteredVersion(
        name=version.name,
        version=str(version.version),
        digest=marks.get(tags.DIGEST),
        aliases=tuple(version.aliases),
        stage=None if stage in (None, "None") else stage,
        model_id=version.model_id or logged_model_of(version.source),
        created=created,
        artifact_version=marks.get(tags.VERSION),
        toolchain=marks.get(tags.TOOLCHAIN),
        environment=marks.get(tags.ENVIRONMENT),
        golden=marks.get(tags.GOLDEN),
        refused=marks.get(tags.REFUSED),
        made_at=version.creation_timestamp,
    )


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
