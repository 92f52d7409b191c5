"""`legion serve`: one or several models over HTTP."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click
import msgspec

from legion.cli import settings
from legion.cli.progress import say
from legion.errors import UsageError
from legion.gateway import server
from legion.gateway.deployments import declaration as declarations
from legion.gateway.deployments.declaration import Declaration, VariantDeclaration, Workers
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.release import named
from legion.gateway.deployments.variant import Kept
from legion.gateway.limits import MIB, Limits
from legion.gateway.server import Declared, Grpc, Setting
from legion.provision.resolve import resolve
from legion.provisioning_messages import Delivery
from legion.reference import parse

# What a registered model may be called and a path may not hold.
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
# What `mlflow models serve` calls its environment managers → where the environment comes from here.
_MANAGERS = {"local": "local", "virtualenv": "uv", "uv": "uv", "conda": "conda"}
_DEPLOYMENT = (".yaml", ".yml")


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1)
@click.option(
    "-m", "--model-uri", "more", metavar="MODEL", multiple=True, help="A MODEL, as mlflow models serve takes it."
)
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=5000, show_default=True)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    help="Speak the Open Inference Protocol over gRPC here as well (extra: grpc).",
)
@click.option("-w", "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes a model.")
@click.option(
    "--env",
    type=click.Choice(("auto", "local", "uv", "conda", "docker")),
    default="auto",
    show_default=True,
    help="Where the model's environment comes from.",
)
@click.option(
    "--env-manager",
    "manager",
    type=click.Choice(tuple(_MANAGERS)),
    help="The same in the words of mlflow models serve.",
)
@click.option("--follow", is_flag=True, help="Swap to the new version when the alias or stage moves.")
@click.option(
    "--keep-warm",
    type=click.FloatRange(0),
    default=declarations.KEEP_WARM,
    show_default=True,
    help="Seconds that the version before a swap stays ready for a rollback.",
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
@click.option(
    "--start-timeout",
    type=click.FloatRange(0.01),
    default=300.0,
    show_default=True,
    help="Seconds a version may take to be loaded and checked.",
)
@click.option(
    "--drain",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Keep accepting requests for this long after SIGTERM, while the health checks say 503.",
)
@click.option("--admin", is_flag=True, help="Take deployments over HTTP under /admin and restore them at the start.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where --admin keeps deployments; LEGION_STATE or the user's state folder if left out.",
)
@click.help_option("--help")
def serve(
    models: tuple[str, ...],
    more: tuple[str, ...],
    host: str,
    port: int,
    grpc_port: int | None,
    workers: int,
    env: str,
    manager: str | None,
    follow: bool,
    keep_warm: float,
    max_body: int,
    queue: int,
    timeout: float,
    start_timeout: float,
    drain: float,
    admin: bool,
    state: Path | None,
) -> None:
    """Serve one or several models: MLflow's protocol, Legion's REST, a typed docs page, metrics.

    MODEL is an artifact, a model folder, models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/PATH, or a deployment's
    YAML file; NAME=MODEL gives it a name of its own. One model answers at /invocations, several at
    /models/NAME/invocations.
    """
    began = time.monotonic()
    server.configure_logging()
    models += more
    if not models and not admin:
        raise UsageError("there is nothing to serve; name a MODEL, or add --admin to take deployments")
    if grpc_port is not None:
        server.load_grpc()
    limits = Limits(max_body=max_body * MIB, queue=queue, timeout=timeout, start=start_timeout)
    wished = Workers(workers, env if manager is None else _MANAGERS[manager], keep_warm)
    sock = server.bind(host, port)
    declared = [_declared(text, limits, wished, follow) for text in models]
    address = f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"
    setting = Setting(settings.cache_folder(), say, drain=drain)
    if grpc_port is not None:
        setting = msgspec.structs.replace(setting, grpc=Grpc(host, grpc_port, limits.max_body))
    if admin:
        token = settings.make_admin_token()
        setting = msgspec.structs.replace(setting, state=state or settings.state_folder(), token=token)

    def on_ready(deployments: list[Deployment], seconds: float) -> None:
        for line in _lines(deployments, address, time.monotonic() - began):
            say(line)

    server.serve(declared, sock, setting, on_ready=on_ready)


def _declared(text: str, limits: Limits, workers: Workers, follow: bool) -> Declared:
    """What one MODEL argument asks for; a model in a file is made ready here, all others by the provisioner."""
    name, equals, rest = text.partition("=")
    if equals and name.replace("-", "").replace("_", "").isalnum():
        text = rest
    else:
        name = ""
    reference = parse(text)
    if reference.scheme == "path" and reference.path.suffix in _DEPLOYMENT:
        return _from_file(reference.path, name)
    if follow and not declarations.moves(reference):
        raise UsageError(f"{text} cannot be followed, it never moves; use models:/NAME@ALIAS or leave out --follow")
    variant = VariantDeclaration("champion", text)
    kept = {}
    if reference.scheme == "path":
        delivery = _delivery(text, workers.env)
        name = name or delivery.plan.name
        kept = {variant.name: Kept(delivery)}
    declaration = Declaration(
        name=name or _UNFIT.sub("-", reference.name or "model")[:63],
        variants=(variant,),
        follow=declarations.FOLLOW_EVERY if follow else None,
        limits=limits,
        workers=workers,
    )
    return Declared(declaration, kept)


def _from_file(path: Path, name: str) -> Declared:
    try:
        declaration = declarations.read_yaml(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}; check the path") from None
    declaration = msgspec.structs.replace(declaration, name=name or declaration.name)
    # Paths in the file are meant from where it lies.
    variants = tuple(
        msgspec.structs.replace(one, model=str(path.parent / one.model)) if parse(one.model).scheme == "path" else one
        for one in declaration.variants
    )
    return Declared(msgspec.structs.replace(declaration, variants=variants))


def _delivery(text: str, env: str) -> Delivery:
    found = resolve(text, env=env, cache=settings.cache_folder(), say=say)
    if not found.python.exists():
        raise UsageError(f"{found.python} is not there; choose another --env")
    return Delivery(0, found.digest or text, found.plan, str(found.python), found.example, found.digest)


def _lines(deployments: list[Deployment], address: str, seconds: float) -> list[str]:
    """What is served, by which path, and where to look."""
    lines = []
    for deployment in deployments:
        for variant in deployment.variants:
            if variant.serving is None:
                reason = variant.refused.reason if variant.refused else variant.registry or "still starting"
                lines.append(f"{deployment.name}: not served ({reason})")
                continue
            report = variant.serving.pool.report
            merging = "merges requests" if report.merges else "one request at a time"
            what = named(variant.serving.delivery)
            lines.append(f"{what}: {report.path} path, {merging}, Python {report.python_version}")
            lines += [f"  {note}" for note in report.notes]
    prefix = "" if len(deployments) == 1 else "/models/NAME"
    lines.append(f"ready after {seconds:.1f} s at {address}{prefix}/invocations")
    lines.append(f"docs page at {address}/docs, metrics at {address}/metrics; end with Ctrl-C")
    return lines
