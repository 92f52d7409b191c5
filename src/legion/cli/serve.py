"""`legion serve`: one or several models over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from legion import api
from legion.api.serve_settings import DEFAULTS, ServeSettings
from legion.cli import options
from legion.cli.json_output import print_json_line
from legion.cli.progress import TERMINAL, say

# The environment managers of `mlflow models serve` → the same environments here.
_MANAGERS = {"local": "local", "virtualenv": "uv", "uv": "uv", "conda": "conda"}
_PORT = click.IntRange(0, 65535)
_SECONDS = click.FloatRange(0.01)


def _setting(*names: str, **more: Any) -> Callable[[Any], Any]:
    """An option that is a field of ServeSettings, whose default is the field's."""
    field = max(names, key=len).removeprefix("--").replace("-", "_")
    default = getattr(DEFAULTS, field)
    shown = default is not None and not more.get("is_flag")
    return click.option(*names, default=default, show_default=shown, **more)


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1)
@click.option("-m", "--model-uri", "more", metavar="MODEL", multiple=True, help="A MODEL, as for mlflow models serve.")
@_setting("-h", "--host", help="Address to listen on.")
@_setting("-p", "--port", type=_PORT, help="Port to listen on; 0 is any free one.")
@_setting(
    "--grpc-port", type=_PORT, help="Also serve the Open Inference Protocol over gRPC on this port (extra: grpc)."
)
@_setting("-w", "--workers", type=click.IntRange(1, 256), help="Worker processes per model.")
@_setting("--env", type=click.Choice(options.ENVIRONMENTS), help="Environment to run the models in.")
@click.option(
    "--env-manager", "manager", type=click.Choice(tuple(_MANAGERS)), help="--env, as for mlflow models serve."
)
@_setting("--follow", is_flag=True, help="Swap to the new version when the alias or stage moves.")
@_setting("--keep-warm", type=click.FloatRange(0), help="Seconds the previous version stays ready for a rollback.")
@_setting("--max-body", type=click.IntRange(1), metavar="MIB", help="Largest request body in MiB.")
@_setting("--queue", type=click.IntRange(1), help="Maximum queued requests per model.")
@_setting("-t", "--timeout", type=_SECONDS, help="Request timeout in seconds.")
@_setting("--start-timeout", type=_SECONDS, help="Seconds a version may take to load and to be checked.")
@_setting(
    "--drain",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Keep accepting requests for this long after SIGTERM, while the health checks say 503.",
)
@_setting(
    "--memory",
    metavar="SIZE",
    help="Memory for the requests and answers of all models, such as 512MiB. Default: a quarter of what there is.",
)
@_setting("--admin", is_flag=True, help="Accept deployments over HTTP under /admin, and restore them at startup.")
@_setting(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the deployments of --admin. Default: LEGION_STATE, else the user's state folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON once the models are ready.")
@click.help_option("--help")
def serve(models: tuple[str, ...], more: tuple[str, ...], manager: str | None, as_json: bool, **settings: Any) -> None:
    """Serve one or several models: MLflow's protocol, Legion's REST, a typed docs page, metrics.

    MODEL is an artifact, a model folder, models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/PATH, or a deployment's
    YAML file; NAME=MODEL gives it a name of its own. One model answers at /invocations, several at
    /models/NAME/invocations.
    """
    if manager is not None:
        settings["env"] = _MANAGERS[manager]

    def on_ready(ready: api.gateway.Ready) -> None:
        for line in _lines(ready):
            say(line)
        if as_json:
            print_json_line(ready)
            sys.stdout.flush()

    api.gateway.run((*models, *more), ServeSettings(**settings), on_ready=on_ready, progress=TERMINAL)


def _lines(ready: api.gateway.Ready) -> Iterator[str]:
    """What is served, how, and where to look."""
    for one in ready.variants:
        if one.release is None:
            yield f"{one.deployment}: not served ({one.reason})"
            continue
        merging = "merges requests" if one.merges else "one request at a time"
        yield f"{one.release}: {one.path} path, {merging}, Python {one.python_version}"
        yield from (f"  {note}" for note in one.notes)
    prefix = "" if len(ready.deployments) == 1 else "/models/NAME"
    yield f"ready after {ready.seconds:.1f} s at {ready.url}{prefix}/invocations"
    yield f"docs page at {ready.url}/docs, metrics at {ready.url}/metrics; end with Ctrl-C"
