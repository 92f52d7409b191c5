"""`legion up`: MLflow's server and a gateway, started, watched and ended together by this process."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from legion.api import settings
from legion.api.progress import LOGGED, Progress
from legion.api.stack_settings import DEFAULTS, StackSettings
from legion.disk.lock import tried
from legion.documents.redaction import redacted
from legion.errors import OutsideError
from legion.stack.plan import Plan, Wish
from legion.stack.plan import plan as make_plan
from legion.stack.supervisor import Supervisor

OnLine = Callable[[str, str], None]


class Running(msgspec.Struct, frozen=True):
    """A stack that is up. `for_others` is MLflow's address for other machines, where that is another one; `direct`
    tells that clients read and write the artifacts themselves; `pids` are the processes by their names."""

    tracking_uri: str
    for_others: str | None
    gateway: str
    database: str
    artifacts: str
    direct: bool
    data: str
    admin_token_file: str
    pids: dict[str, int]


def run(
    wished: StackSettings = DEFAULTS,
    *,
    on_ready: Callable[[Running], None],
    on_line: OnLine,
    progress: Progress = LOGGED,
) -> None:
    """Run both until SIGTERM, SIGINT or SIGHUP. `on_ready` is called once both answer, `on_line` with a process's
    name and each line of its log, in which no password is shown.

    Raises UsageError, MissingExtraError, RefusedError for a database that may not be used, OutsideError where an
    address is taken or a process does not start.
    """
    port = _free(wished.host, wished.port, "--port")
    gateway_port = _free(wished.host, wished.gateway_port, "--gateway-port")
    state = settings.state_folder() if wished.data is None else wished.data.absolute()
    plan = make_plan(
        Wish(
            host=wished.host,
            port=port,
            gateway_port=gateway_port,
            data=wished.data or state / "stack",
            state=state,
            backend_store_uri=wished.backend_store_uri,
            artifacts_destination=wished.artifacts_destination,
            serve_artifacts=wished.serve_artifacts,
            default_artifact_root=wished.default_artifact_root,
            allowed_hosts=wished.allowed_hosts,
            memory=wished.memory,
        ),
        os.environ,
    )
    clean = _cleaner(plan.secrets)
    with _alone(plan.data):
        supervisor = Supervisor(
            plan,
            say=lambda line: progress.say(clean(line)),
            on_line=lambda name, line: on_line(name, clean(line)),
        )
        asyncio.run(supervisor.run(lambda pids: on_ready(_running(plan, state / "admin-token", pids))))


def _free(host: str, port: int, option: str) -> int:
    """The port, or a free one for 0. Raises OutsideError where it is taken, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutsideError(f"cannot listen on {host}:{port} ({reason}); choose another {option}") from None
        return int(sock.getsockname()[1])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process: two stacks on one SQLite file and one set of deployments disturb each other."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            alone = stack.enter_context(tried(folder / ".lock"))
        except OSError as error:
            raise OutsideError(f"{folder} cannot be used ({error.strerror}); choose another --data") from None
        if not alone:
            raise OutsideError(f"another legion up keeps its data in {folder}; end it, or choose another --data")
        yield


def _cleaner(secrets: Sequence[str]) -> Callable[[str], str]:
    def clean(line: str) -> str:
        line = redacted(line)
        for secret in secrets:
            line = line.replace(secret, "***")
        return line

    return clean


def _running(plan: Plan, token_file: Path, pids: dict[str, int]) -> Running:
    return Running(
        tracking_uri=plan.tracking_uri,
        for_others=plan.for_others,
        gateway=plan.gateway_url,
        database=plan.database,
        artifacts=plan.artifacts,
        direct=plan.direct,
        data=str(plan.data),
        admin_token_file=str(token_file),
        pids=pids,
    )
