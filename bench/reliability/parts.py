"""What the proofs run on: the real parts of the team stack, a registry's client, a gateway with its admin API."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import time
import urllib.request
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import probes
from demands import Failed

from legion.client.client import Client
from legion.errors import LegionError
from legion.registry.store import push
from real_parts import MlflowServer, ObjectStore, Part, PostgresServer

ALIAS = "champion"
FOLLOW = 0.5  # seconds between looks at the registry; the default is 2
_LAST_WORDS = 30  # lines
MARK = "LEGION_RELIABILITY_MARK"


def until(true: Callable[[], Any], what: str, seconds: float = 60, pause: float = 0.01) -> float:
    """Wait until it is so; the moment. Raises Failed."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise Failed(f"{what} did not come about within {seconds:g} s")
        time.sleep(pause)
    return time.monotonic()


def environment(**variables: str) -> dict[str, str]:
    """The caller's without settings of MLflow or Legion, and these."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LEGION_", "MLFLOW_"))}
    # Without compiled modules every start would compile its imports anew, which no user's does.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", **variables}


class Gateway(Part):
    """`legion serve --admin` with its cache, its state and its temporary files in a folder of its own.

    With `files` the process may have so many open files.
    """

    def __init__(self, tracking_uri: str, *arguments: str, files: int | None = None) -> None:
        super().__init__()
        self._arguments = arguments
        self._files = files
        self._token = uuid.uuid4().hex
        self.mark = uuid.uuid4().hex
        self.tracking_uri = tracking_uri
        self.cache, self.state, self.temporary = (self.folder / name for name in ("cache", "state", "tmp"))
        self.temporary.mkdir()
        self.client = Client(f"http://127.0.0.1:{self.port}", self._token)

    def command(self) -> list[str]:
        where = ["--port", str(self.port), "--admin", "--state", str(self.state)]
        command = [sys.executable, "-m", "legion.cli.main", "serve", *self._arguments, *where]
        # exec keeps the process id.
        limited = ["sh", "-c", 'ulimit -n "$0"; exec "$@"', str(self._files)]
        return command if self._files is None else limited + command

    def environment(self) -> dict[str, str]:
        return environment(
            MLFLOW_TRACKING_URI=self.tracking_uri,
            LEGION_CACHE=str(self.cache),
            LEGION_ADMIN_TOKEN=self._token,
            TMPDIR=str(self.temporary),
            **{MARK: self.mark},
        )

    def answers(self) -> bool:
        return "ready after" in self.log.read_text()

    def start(self, seconds: float = 60, **options: Any) -> None:
        self.log.write_text("")
        try:
            super().start(seconds, cwd=self.folder, **options)
        except AssertionError:
            lines = self.log.read_text().strip().splitlines() or ["it said nothing"]
            raise Failed(f"the gateway did not start: {lines[-1]}") from None

    @property
    def pid(self) -> int:
        """The gateway's own process."""
        assert self.process is not None
        return self.process.pid

    def deploy(self, *, keep_warm: str = "300s") -> None:
        """Follow the alias, and wait until its version answers."""
        self.client.deploy(
            {
                "name": probes.NAME,
                "model": f"models:/{probes.NAME}@{ALIAS}",
                "follow": FOLLOW,
                "workers": {"replicas": 1, "env": "auto", "keep_warm": keep_warm},
            }
        )
        until(lambda: self.serving() is not None, "the first version")

    def counted(self, name: str) -> float:
        """A counter or a gauge of the gateway's metrics, summed over all models."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[{{ ]", line))

    def variant(self) -> dict[str, Any]:
        """The one variant, as the admin API shows it."""
        variants: list[dict[str, Any]] = self.client.deployment(probes.NAME)["variants"]
        return variants[0]

    def workers(self) -> list[int]:
        """The process ids of the one variant's workers, as the admin API shows them."""
        return list(self.variant()["serving"]["workers"])

    def serving(self) -> int | None:
        """The number of the registered version that the admin API says is serving."""
        found = self.variant()["serving"]
        return None if found is None else int(found["registered"]["version"])


class Registry:
    """Versions of the probe, whose numbers are their answers, and the alias that is followed."""

    def __init__(self, tracking_uri: str, folder: Path) -> None:
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        from mlflow import MlflowClient

        self.uri = tracking_uri
        self.client = MlflowClient(tracking_uri)
        self._folder = folder
        self.versions = 0

    def version(self, **broken: Any) -> int:
        """Register one more; its number, which is its answer."""
        self.versions += 1
        made = probes.artifact(self._folder / f"probe-{self.versions}.zip", self.versions, **broken)
        version = push(made, probes.NAME, tracking_uri=self.uri)
        made.unlink()
        assert int(version.version) == self.versions
        return self.versions

    def point(self, version: int) -> float:
        """Move the alias, as any MLflow client does; the moment it was moved."""
        self.client.set_registered_model_alias(probes.NAME, ALIAS, str(version))
        return time.monotonic()

    def point_patiently(self, version: int, seconds: float = 30) -> float:
        """The same at a server that may not have found its database again."""

        def moved() -> bool:
            with suppress(Exception):
                self.point(version)
                return True
            return False

        return until(moved, "an alias move", seconds, 0.1)

    def tag(self, version: int, name: str) -> str | None:
        """A version's tag."""
        tags: dict[str, str] = self.client.get_model_version(probes.NAME, str(version)).tags
        return tags.get(name)

    def stored(self, version: int) -> str:
        """Where the version's files are: the last part of their address that is a logged model's id."""
        source: str = self.client.get_model_version(probes.NAME, str(version)).source
        return next(part for part in source.replace(":", "/").split("/") if part.startswith("m-"))


class Team:
    """PostgreSQL, an S3 store and MLflow's server on both; artifacts pass through the server."""

    def __init__(self, stack: ExitStack) -> None:
        self.postgres = stack.enter_context(PostgresServer())
        self.store = stack.enter_context(ObjectStore())
        self.mlflow = stack.enter_context(
            MlflowServer(
                self.postgres.database(), f"s3://{self.store.bucket}/team", variables=self.store.variables, workers=2
            )
        )
        self.folder = self.mlflow.folder
        self.registry = Registry(self.mlflow.url, self.folder)

    @property
    def parts(self) -> dict[str, Part]:
        """By the name they have on the page, what others stand on first."""
        return {"PostgreSQL": self.postgres, "the S3 store": self.store, "MLflow's server": self.mlflow}

    def kill(self, *names: str) -> None:
        """End these with -9, at once."""
        for name in reversed(names):
            self.parts[name].stop(signal.SIGKILL)

    def back(self, *names: str) -> None:
        """Start these again on what they had kept."""
        for name in names:
            part = self.parts[name]
            # A postmaster refuses while a backend of the killed one is still ending.
            end = time.monotonic() + 20
            while True:
                try:
                    part.start()
                    break
                except AssertionError:
                    part.stop()
                    if time.monotonic() > end:
                        raise Failed(f"{name} did not start again") from None
                    time.sleep(0.5)


@contextmanager
def team() -> Iterator[Team]:
    """The team stack, ended with the block."""
    warnings.simplefilter("ignore", FutureWarning)
    with ExitStack() as stack:
        yield Team(stack)


@contextmanager
def gateway(tracking_uri: str, *arguments: str, files: int | None = None) -> Iterator[Gateway]:
    """A gateway on this registry, ended with the block; its last words are shown where a proof fails."""
    with Gateway(tracking_uri, *arguments, files=files) as running:
        try:
            yield running
        except Failed:
            words = running.log.read_text().splitlines()[-_LAST_WORDS:]
            print("\n".join(["the gateway's log ends with:", *words]), file=sys.stderr)
            with suppress(LegionError):
                print(running.variant(), file=sys.stderr)
            raise


def out_of_reach(running: Gateway) -> str | None:
    """What the gateway says of the registry; None while it answers, or while the gateway itself does not."""
    try:
        told: str | None = running.variant()["registry"]
        return told
    except LegionError:
        return None
