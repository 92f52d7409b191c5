"""`legion up`: MLflow's server and a gateway, started, watched and ended together."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import msgspec

from legion.cli import settings
from legion.cli.progress import say
from legion.documents.redaction import redacted
from legion.errors import OutsideError
from legion.stack.plan import Plan, Wish
from legion.stack.plan import plan as make_plan
from legion.stack.supervisor import Supervisor

_COLOURS = {"mlflow": "cyan", "gateway": "magenta"}
_WIDTH = max(map(len, _COLOURS))


@click.command()
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="The address that both listen on.")
@click.option(
    "-p", "--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="MLflow's; 0 is any free one."
)
@click.option(
    "--gateway-port",
    type=click.IntRange(0, 65535),
    default=5001,
    show_default=True,
    help="The gateway's; 0 is any free one.",
)
@click.option(
    "--backend-store-uri",
    envvar="MLFLOW_BACKEND_STORE_URI",
    show_envvar=True,
    metavar="URI",
    help="MLflow's database, postgresql://… for a team; SQLite under --data if left out.",
)
@click.option(
    "--artifacts-destination",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    show_envvar=True,
    metavar="URI",
    help="Where artifacts are kept, s3://… for a team; a folder under --data if left out.",
)
@click.option("--no-serve-artifacts", is_flag=True, help="Clients read and write artifacts directly, not by MLflow.")
@click.option(
    "--default-artifact-root",
    metavar="URI",
    help="Where clients themselves write the artifacts of new experiments.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of what is kept on this machine; by default under the user's state folder.",
)
@click.option(
    "--allowed-host",
    multiple=True,
    metavar="NAME",
    help="A further name that MLflow answers to, such as a proxy's; repeat it.",
)
@click.option("--json", "as_json", is_flag=True, help="When both are up, print one line of JSON.")
@click.help_option("--help")
def up(
    host: str,
    port: int,
    gateway_port: int,
    backend_store_uri: str | None,
    artifacts_destination: str | None,
    no_serve_artifacts: bool,
    default_artifact_root: str | None,
    data: Path | None,
    allowed_host: tuple[str, ...],
    as_json: bool,
) -> None:
    """Start MLflow's server and a gateway, watch both, and end both on Ctrl-C.

    Without options everything is kept on this machine. A password belongs into MLFLOW_BACKEND_STORE_URI, since a
    command line can be read by others; keys of the object store are read from the usual AWS variables.
    """
    port, gateway_port = _free(host, port, "--port"), _free(host, gateway_port, "--gateway-port")
    state = settings.state_folder() if data is None else data.absolute()
    wish = Wish(
        host=host,
        port=port,
        gateway_port=gateway_port,
        data=data or state / "stack",
        state=state,
        backend_store_uri=backend_store_uri,
        artifacts_destination=artifacts_destination,
        serve_artifacts=not no_serve_artifacts,
        default_artifact_root=default_artifact_root,
        allowed_hosts=allowed_host,
    )
    plan = make_plan(wish, os.environ)
    token_file = state / "admin-token"

    def on_ready(pids: dict[str, int]) -> None:
        if as_json:
            click.echo(msgspec.json.encode({**_report(plan), "admin_token_file": str(token_file), "pids": pids}))
        else:
            click.echo("\n".join(_summary(plan, token_file, own_state=data is not None)))
        sys.stdout.flush()

    with _alone(plan.data):
        clean = _cleaner(plan.secrets)
        supervisor = Supervisor(plan, say=_say(clean), on_line=_log(clean))
        asyncio.run(supervisor.run(on_ready))


def _free(host: str, port: int, option: str) -> int:
    """The port, or a free one for 0. Raises OutsideError where it is taken, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutsideError(f"{host}:{port} cannot be listened on ({reason}); choose another {option}") from None
        return int(sock.getsockname()[1])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process: two stacks on one SQLite file and one set of deployments disturb each other."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / ".lock").open("ab")
    except OSError as error:
        raise OutsideError(f"{folder} cannot be used ({error.strerror}); choose another --data") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutsideError(
                f"another legion up keeps its data in {folder}; end it, or choose another --data"
            ) from None
        yield


def _cleaner(secrets: tuple[str, ...]) -> Callable[[str], str]:
    def clean(line: str) -> str:
        line = redacted(line)
        for secret in secrets:
            line = line.replace(secret, "***")
        return line

    return clean


def _say(clean: Callable[[str], str]) -> Callable[[str], None]:
    def write(line: str) -> None:
        # Where nobody reads the log any more, the stack goes on without one.
        with suppress(OSError):
            say(clean(line))

    return write


def _log(clean: Callable[[str], str]) -> Callable[[str, str], None]:
    coloured = sys.stderr.isatty()

    def write(name: str, line: str) -> None:
        prefix = f"{name:<{_WIDTH}} |"
        with suppress(OSError):
            click.echo(f"{click.style(prefix, fg=_COLOURS.get(name)) if coloured else prefix} {clean(line)}", err=True)

    return write


def _report(plan: Plan) -> dict[str, object]:
    return {
        "tracking_uri": plan.tracking_uri,
        "for_others": plan.for_others,
        "gateway": plan.gateway_url,
        "database": plan.database,
        "artifacts": plan.artifacts,
        "direct": plan.direct,
        "data": str(plan.data),
    }


def _summary(plan: Plan, token_file: Path, *, own_state: bool) -> list[str]:
    """Where everything is, and what to try next."""
    how = "read and written by clients directly" if plan.direct else "served by MLflow"
    lines = [
        "ready",
        f"  MLflow       {plan.tracking_uri}{f', for others {plan.for_others}' if plan.for_others else ''}",
        f"  gateway      {plan.gateway_url}, docs page at {plan.gateway_url}/docs",
        f"  database     {plan.database}",
        f"  artifacts    {plan.artifacts}, {how}",
        f"  admin token  {token_file}",
        "",
        "in another terminal:",
        f"  export MLFLOW_TRACKING_URI={plan.tracking_uri}",
    ]
    if plan.gateway_url != settings.DEFAULT_GATEWAY:
        lines.append(f"  export LEGION_GATEWAY={plan.gateway_url}")
    if own_state:
        lines.append(f"  export LEGION_STATE={shlex.quote(str(token_file.parent))}")
    lines += [
        "  legion train examples/wine -o wine.zip",
        "  legion register wine.zip --name wine --alias champion",
        r"  printf 'name: wine\nmodel: models:/wine@champion\n' > wine.yaml && legion deploy local wine.yaml",
        f"  curl {plan.gateway_url}/models/wine/api/model/info",
        "",
        "end everything with Ctrl-C",
    ]
    return lines
