"""`legion serve`: one or several models over HTTP."""

from __future__ import annotations

import time

import click

from legion.cli import model, settings
from legion.cli.progress import say
from legion.errors import UsageError
from legion.gateway import server
from legion.gateway.deployment import Deployment, Served
from legion.gateway.limits import MIB, Limits


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=5000, show_default=True)
@click.option("-w", "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes a model.")
@click.option(
    "--env",
    type=click.Choice(("auto", "local", "uv")),
    default="auto",
    show_default=True,
    help="Where the model's environment comes from.",
)
@click.option(
    "--max-body",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    metavar="MIB",
    help="Largest request.",
)
@click.option(
    "--queue", type=click.IntRange(1), default=1024, show_default=True, help="Requests a model that may wait."
)
@click.option(
    "-t", "--timeout", type=click.FloatRange(0.01), default=60.0, show_default=True, help="Seconds a request."
)
@click.help_option("--help")
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    workers: int,
    env: str,
    max_body: int,
    queue: int,
    timeout: float,
) -> None:
    """Serve one or several models: MLflow's protocol, Legion's REST, a typed docs page, metrics.

    MODEL is an artifact, a model folder, models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID/PATH; NAME=MODEL
    gives it a name of its own. One model answers at /invocations, several at /models/NAME/invocations.
    """
    began = time.monotonic()
    server.configure_logging()
    limits = Limits(max_body=max_body * MIB, queue=queue, timeout=timeout)
    sock = server.bind(host, port)
    served = [_served(text, env, workers, limits) for text in models]
    address = f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"

    def on_ready(deployments: list[Deployment], seconds: float) -> None:
        for line in _lines(deployments, address, time.monotonic() - began):
            say(line)

    server.serve(served, sock, on_ready=on_ready)


def _served(text: str, env: str, workers: int, limits: Limits) -> Served:
    name, equals, rest = text.partition("=")
    if equals and name.replace("-", "").replace("_", "").isalnum():
        text = rest
    else:
        name = ""
    found = model.resolve(text, env=env, cache=settings.cache_folder(), say=say)
    if not found.python.exists():
        raise UsageError(f"{found.python} is not there; choose another --env")
    return Served(name or found.plan.name, found.plan, found.python, workers, limits, found.example)


def _lines(deployments: list[Deployment], address: str, seconds: float) -> list[str]:
    """What is served, by which path, and where to look."""
    lines = []
    for deployment in deployments:
        report, plan = deployment.pool.report, deployment.served.plan
        merging = "merges requests" if report.merges else "one request at a time"
        lines.append(f"{plan.name} {plan.version}: {report.path} path, {merging}, Python {report.python_version}")
        lines += [f"  {note}" for note in report.notes]
    prefix = "" if len(deployments) == 1 else "/models/NAME"
    lines.append(f"ready after {seconds:.1f} s at {address}{prefix}/invocations")
    lines.append(f"docs page at {address}/docs, metrics at {address}/metrics; end with Ctrl-C")
    return lines
