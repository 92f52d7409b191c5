"""A project with docker_env: its entry point runs in a container of that image.

MLflow's own way builds an image with the `docker` package and hands a line to a shell. Here the project's folder is
mounted where MLflow would have copied it, a tracking store on this machine's disk is mounted at its own place, and
the container is told over a socket what to run and in which environment, so that no secret is on a command line.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from legion.environment import docker
from legion.environment.container_launch import Wish, start_contained
from legion.environment.docker import Mount
from legion.environment.uv_command import Say
from legion.errors import UsageError

# Where MLflow has the project in its images.
_FOLDER = "/mlflow/projects/code"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What a client of a tracking server and of its store reads, besides what the project asks for.
_CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_S3_ENDPOINT_URL",
    "MLFLOW_S3_IGNORE_TLS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_ACCESS_KEY",
)


class Image(msgspec.Struct, frozen=True):
    """What a project runs in: `options` are its own mounts, `variables` its own and the credentials."""

    program: docker.Program
    name: str
    id: str
    options: tuple[str, ...]
    variables: dict[str, str]


def image_for(docker_env: dict[str, Any], environ: Mapping[str, str], say: Say) -> Image:
    """The image that an MLproject's docker_env names, pulled if need be.

    Raises UsageError for an image or a variable that is none, EnvironmentRefused where no program runs containers,
    EnvironmentBuildError where the image cannot be had.
    """
    name = docker.checked_image(docker_env.get("image"))
    variables = dict(_variables(docker_env.get("environment") or [], environ))
    # MLflow has checked that they are texts. With the = none can be taken for another option.
    options = tuple(f"--volume={volume}" for volume in docker_env.get("volumes") or [])
    program = docker.find_program(environ, f"a project that runs in the image {name}")
    found = docker.image_id(program, name, say)
    say(f"the project runs in image {name} ({found[:12]}) by {Path(program.command[0]).name}")
    credentials = {key: environ[key] for key in _CREDENTIALS if key in environ}
    return Image(program, name, found, options, {**credentials, **variables})


def _variables(entries: list[Any], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        if isinstance(entry, str):
            if entry not in environ:
                raise UsageError(f"the project's docker_env wants the variable {entry}, which is not set; export it")
            yield entry, environ[entry]
        elif isinstance(entry, list) and len(entry) == 2:
            yield str(entry[0]), str(entry[1])
        else:
            raise UsageError(f"docker_env.environment holds {entry!r}; write NAME, or a pair of NAME and value")


def backend_for(image: Image) -> type[Any]:
    """A backend for `mlflow.projects.run` that runs the entry point in a container of `image`."""
    from mlflow import MlflowClient  # noqa: PLC0415
    from mlflow.projects import utils  # noqa: PLC0415
    from mlflow.projects.backend.local import LocalBackend  # noqa: PLC0415
    from mlflow.projects.submitted_run import LocalSubmittedRun  # noqa: PLC0415
    from mlflow.utils import mlflow_tags as tags  # noqa: PLC0415

    class Backend(LocalBackend):  # type: ignore[misc]
        """MLflow's steps, with the container in the place of the shell."""

        def run(  # noqa: PLR0917 (MLflow's signature)
            self,
            project_uri: str,
            entry_point: str,
            params: dict[str, str],
            version: str | None,
            backend_config: dict[str, Any],
            tracking_uri: str,
            experiment_id: str,
        ) -> Any:
            folder = utils.fetch_and_validate_project(project_uri, version, entry_point, params)
            project = utils.load_project(folder)
            created = utils.get_or_create_run(None, project_uri, experiment_id, folder, version, entry_point, params)
            client, run_id = MlflowClient(), created.info.run_id
            try:
                client.set_tag(run_id, tags.MLFLOW_PROJECT_ENV, "docker")
                client.set_tag(run_id, tags.MLFLOW_DOCKER_IMAGE_URI, image.name)
                client.set_tag(run_id, tags.MLFLOW_DOCKER_IMAGE_ID, f"sha256:{image.id}")
                artifacts = client.get_experiment(created.info.experiment_id).artifact_location
                command = utils.get_entry_point_command(project, entry_point, params, None)[0]
                variables = utils.get_run_env_vars(run_id, created.info.experiment_id)
                process = _started(image, Path(folder), command, variables, artifacts)
            except BaseException:
                client.set_terminated(run_id, "FAILED")
                raise
            return LocalSubmittedRun(run_id, process)

    return Backend


def _started(image: Image, folder: Path, command: str, variables: dict[str, str], artifacts: str) -> Any:
    """Start the container; the process is the client that waits for it."""
    tracking = _absolute(variables["MLFLOW_TRACKING_URI"])
    mounts = [Mount(folder, _FOLDER, readonly=False)]
    for store in dict.fromkeys((_local(tracking), _local(artifacts))):
        if store is not None:
            store.mkdir(parents=True, exist_ok=True)
            mounts.append(Mount(store, readonly=False))
    options = [*image.options, *(["--network=host"] if urlsplit(tracking).hostname in _LOOPBACK else [])]
    environment = {**image.variables, **variables, "MLFLOW_TRACKING_URI": tracking}
    # As MLflow does, but here it is nobody's shell that takes the words apart.
    wish = Wish(tuple(shlex.split(command)), folder=_FOLDER, environment=environment)
    # Nobody writes to the pipe, and nobody closes it: it ends with this process, and the container with it.
    lifeline, _ = os.pipe()
    try:
        return start_contained(
            lambda place: docker.contained(image.program, image.id, place, mounts=mounts, options=options),
            wish,
            [lifeline],
        )
    finally:
        os.close(lifeline)


def _absolute(uri: str) -> str:
    """The tracking URI with a relative path of a database or folder made absolute."""
    scheme, separator, rest = uri.partition(":///")
    if separator and scheme.partition("+")[0] == "sqlite":
        return f"{scheme}:///{Path(rest).absolute()}"
    return uri if "://" in uri or uri.startswith("file:") else str(Path(uri).absolute())


def _local(uri: str) -> Path | None:
    """The folder of this machine that a store is in, or None where it is elsewhere."""
    scheme, separator, rest = uri.partition(":///")
    if separator and scheme.partition("+")[0] == "sqlite":
        # SQLite keeps its journal beside the file.
        return Path(rest).absolute().parent
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    return Path(unquote(parts.path) if parts.scheme else uri).absolute()
