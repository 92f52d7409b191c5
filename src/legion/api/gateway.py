"""`legion serve`: a gateway in this process, from the models it is given to its end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from legion.api import settings
from legion.api.progress import LOGGED, Progress
from legion.api.serve_settings import ServeSettings
from legion.disk.sizes import size_from
from legion.errors import UsageError
from legion.gateway import server
from legion.gateway.deployments import declaration as declarations
from legion.gateway.deployments.declaration import Declaration, VariantDeclaration, Workers
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.release import named
from legion.gateway.deployments.variant import Kept, Variant
from legion.gateway.limits import MIB, Limits
from legion.gateway.server import Declared, Grpc, Setting
from legion.provision.resolve import resolve
from legion.provisioning_messages import Delivery
from legion.reference import parse

# Characters that a registered model's name may have and a path may not.
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_DEPLOYMENT = (".yaml", ".yml")


class ServedVariant(msgspec.Struct, frozen=True):
    """One variant of a deployment. `release` is the version that serves, None where none does; `reason` says why.

    `path` is how the worker calls the model (lowered, native, reference, gppi …), `merges` whether it is given
    several requests at once, `notes` why it is not called in a faster way.
    """

    deployment: str
    variant: str
    release: str | None = None
    reason: str | None = None
    path: str = ""
    merges: bool = False
    python_version: str = ""
    notes: tuple[str, ...] = ()


class Ready(msgspec.Struct, frozen=True):
    """A gateway that answers at `url` after `seconds`; `deployments` are their names."""

    url: str
    seconds: float
    deployments: tuple[str, ...] = ()
    variants: tuple[ServedVariant, ...] = ()


def run(
    models: Sequence[str],
    wished: ServeSettings = ServeSettings(),
    *,
    on_ready: Callable[[Ready], None],
    progress: Progress = LOGGED,
) -> None:
    """Serve in this process until SIGTERM or SIGINT; `on_ready` is called once the models are ready.

    `models`: artifacts, model folders, `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/ID/PATH` or
    DEPLOYMENT.yaml files; `NAME=MODEL` serves one under that name.
    Raises UsageError, OutsideError where the address is taken, and whatever keeps a model from being served.
    """
    began = time.monotonic()
    server.configure_logging()
    if not models and not wished.admin:
        raise UsageError("there is nothing to serve; name a MODEL, or add --admin to accept deployments")
    if wished.grpc_port is not None:
        server.load_grpc()
    sock = server.bind(wished.host, wished.port)
    declared = [_declared(text, wished, progress) for text in models]
    host = f"[{wished.host}]" if ":" in wished.host else wished.host
    url = f"http://{host}:{sock.getsockname()[1]}"

    def ready(deployments: list[Deployment], seconds: float) -> None:
        names = tuple(one.name for one in deployments)
        variants = tuple(_served(one.name, variant) for one in deployments for variant in one.variants)
        on_ready(Ready(url, time.monotonic() - began, names, variants))

    server.serve(declared, sock, _setting(wished, progress), on_ready=ready)


def _limits(wished: ServeSettings) -> Limits:
    return Limits(
        max_body=wished.max_body * MIB, queue=wished.queue, timeout=wished.timeout, start=wished.start_timeout
    )


def _setting(wished: ServeSettings, progress: Progress) -> Setting:
    memory = None if wished.memory is None else size_from(wished.memory)
    if memory is not None and memory < MIB:
        raise UsageError(f"{wished.memory} of memory is too little for any request; give it at least 1MiB")
    setting = Setting(settings.cache_folder(), progress.say, drain=wished.drain, memory=memory)
    if wished.grpc_port is not None:
        grpc = Grpc(wished.host, wished.grpc_port, wished.max_body * MIB, wished.timeout)
        setting = msgspec.structs.replace(setting, grpc=grpc)
    if wished.admin:
        state, token = wished.state or settings.state_folder(), settings.make_admin_token()
        setting = msgspec.structs.replace(setting, state=state, token=token)
    return setting


def _declared(text: str, wished: ServeSettings, progress: Progress) -> Declared:
    """What one MODEL asks for; a model in a file is made ready here, all others by the provisioner."""
    name, equals, rest = text.partition("=")
    if equals and name.replace("-", "").replace("_", "").isalnum():
        text = rest
    else:
        name = ""
    reference = parse(text)
    if reference.scheme == "path" and reference.path.suffix in _DEPLOYMENT:
        return _from_file(reference.path, name)
    if wished.follow and not declarations.moves(reference):
        raise UsageError(f"{text} never moves, so it cannot be followed; use models:/NAME@ALIAS or drop --follow")
    variant = VariantDeclaration("champion", text)
    kept = {}
    if reference.scheme == "path":
        delivery = _delivery(text, wished.env, progress)
        name = name or delivery.plan.name
        kept = {variant.name: Kept(delivery)}
    declaration = Declaration(
        name=name or _UNFIT.sub("-", reference.name or "model")[:63],
        variants=(variant,),
        follow=declarations.FOLLOW_EVERY if wished.follow else None,
        limits=_limits(wished),
        workers=Workers(wished.workers, wished.env, wished.keep_warm),
    )
    return Declared(declaration, kept)


def _from_file(path: Path, name: str) -> Declared:
    try:
        declaration = declarations.read_yaml(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}; check the path") from None
    declaration = msgspec.structs.replace(declaration, name=name or declaration.name)
    # Paths in the file are relative to its folder.
    variants = tuple(
        msgspec.structs.replace(one, model=str(path.parent / one.model)) if parse(one.model).scheme == "path" else one
        for one in declaration.variants
    )
    return Declared(msgspec.structs.replace(declaration, variants=variants))


def _delivery(text: str, env: str, progress: Progress) -> Delivery:
    found = resolve(text, env=env, cache=settings.cache_folder(), say=progress.say)
    if not found.python.exists():
        raise UsageError(f"{found.python} does not exist; choose another --env")
    return Delivery(0, found.digest or text, found.plan, str(found.python), found.example, found.digest)


def _served(deployment: str, variant: Variant) -> ServedVariant:
    name = variant.declared.name
    if variant.serving is None:
        reason = variant.refused.reason if variant.refused else variant.registry or "still starting"
        return ServedVariant(deployment, name, reason=reason)
    report = variant.serving.pool.report
    return ServedVariant(
        deployment=deployment,
        variant=name,
        release=named(variant.serving.delivery),
        path=report.path,
        merges=report.merges,
        python_version=report.python_version,
        notes=report.notes,
    )
