"""`legion up`: MLflow's server and a gateway, started, watched and ended together."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from legion import api
from legion.api.stack_settings import DEFAULTS, StackSettings
from legion.cli.json_output import print_json_line
from legion.cli.progress import TerminalProgress
from legion.settings import DEFAULT_GATEWAY

_COLOURS = {"mlflow": "cyan", "gateway": "magenta"}
_WIDTH = max(map(len, _COLOURS))
_PORT = click.IntRange(0, 65535)


class _Log(TerminalProgress):
    """Lines about the stack. Where nobody reads the log any more, the stack goes on without one."""

    def say(self, line: str) -> None:
        with suppress(OSError):
            super().say(line)


@click.command()
@click.option("-h", "--host", default=DEFAULTS.host, show_default=True, help="Address that both listen on.")
@click.option(
    "-p", "--port", type=_PORT, default=DEFAULTS.port, show_default=True, help="MLflow's port; 0 is any free one."
)
@click.option(
    "--gateway-port",
    type=_PORT,
    default=DEFAULTS.gateway_port,
    show_default=True,
    help="The gateway's port; 0 is any free one.",
)
@click.option(
    "--backend-store-uri",
    envvar="MLFLOW_BACKEND_STORE_URI",
    show_envvar=True,
    metavar="URI",
    help="MLflow's database, postgresql://… for a team. Default: SQLite under --data.",
)
@click.option(
    "--artifacts-destination",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    show_envvar=True,
    metavar="URI",
    help="Where artifacts are stored, s3://… for a team. Default: a folder under --data.",
)
@click.option("--no-serve-artifacts", is_flag=True, help="Clients read and write artifacts directly, not via MLflow.")
@click.option(
    "--default-artifact-root",
    metavar="URI",
    help="Where clients write the artifacts of new experiments, if they do so directly.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for everything kept on this machine. Default: under the user's state folder.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name that MLflow answers to, such as a proxy's. Repeatable.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory for the gateway's requests and answers, such as 512MiB. Default: a quarter of what there is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON once both are up.")
@click.help_option("--help")
def up(no_serve_artifacts: bool, as_json: bool, **settings: Any) -> None:
    """Start MLflow's server and a gateway, watch both, and end both on Ctrl-C.

    Without options everything is kept on this machine. Put a password into MLFLOW_BACKEND_STORE_URI, since others
    can read a command line; keys of the object store are read from the usual AWS variables.
    """
    wished = StackSettings(**settings, serve_artifacts=not no_serve_artifacts)

    def on_ready(running: api.stack.Running) -> None:
        if as_json:
            print_json_line(running)
        else:
            click.echo("\n".join(_summary(running, own_state=wished.data is not None)))
        sys.stdout.flush()

    api.stack.run(wished, on_ready=on_ready, on_line=_log(), progress=_Log())


def _log() -> Callable[[str, str], None]:
    coloured = sys.stderr.isatty()

    def write(name: str, line: str) -> None:
        prefix = f"{name:<{_WIDTH}} |"
        with suppress(OSError):
            click.echo(f"{click.style(prefix, fg=_COLOURS.get(name)) if coloured else prefix} {line}", err=True)

    return write


def _summary(running: api.stack.Running, *, own_state: bool) -> Iterator[str]:
    """Where everything is, and what to try next."""
    gateway, others = running.gateway, f", for others {running.for_others}" if running.for_others else ""
    how = "read and written by clients directly" if running.direct else "served by MLflow"
    yield "ready"
    yield f"  MLflow       {running.tracking_uri}{others}"
    yield f"  gateway      {gateway}, docs page at {gateway}/docs"
    yield f"  database     {running.database}"
    yield f"  artifacts    {running.artifacts}, {how}"
    yield f"  admin token  {running.admin_token_file}"
    yield ""
    yield "in another terminal:"
    yield f"  export MLFLOW_TRACKING_URI={running.tracking_uri}"
    if gateway != DEFAULT_GATEWAY:
        yield f"  export LEGION_GATEWAY={gateway}"
    if own_state:
        yield f"  export LEGION_STATE={shlex.quote(str(Path(running.admin_token_file).parent))}"
    yield "  legion train examples/wine -o wine.zip"
    yield "  legion register wine.zip --name wine --alias champion"
    yield r"  printf 'name: wine\nmodel: models:/wine@champion\n' > wine.yaml && legion deploy local wine.yaml"
    yield f"  curl {gateway}/models/wine/api/model/info"
    yield ""
    yield "end everything with Ctrl-C"
