"""The target `legion` or `legion:http://HOST:PORT`, and the errors of MLflow that Legion's become."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from legion.api.deployments import Client, connect
from legion.errors import GatewayRefused, LegionError, OutsideError, UsageError

_HELP = """\
Deploys models to a running Legion gateway (legion serve --admin, or legion up).

Target
    legion                      the gateway of LEGION_GATEWAY, else http://127.0.0.1:5001
    legion:http://HOST:PORT     the gateway at this address
    The admin token is LEGION_ADMIN_TOKEN; that of a gateway of this machine and user is found by itself.

Model URI
    models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/STAGE, runs:/ID/PATH, or the path of an artifact
    or model folder on the gateway's machine. An alias or stage is followed: when it moves, so does the deployment.

Config (-C name=value)
    variant          the variant that create and update act on (champion)
    weight           update: its share of the requests in percent; the other variants keep their proportions
    follow           true, false, or how often to query the registry, such as 10s
    sticky           header:NAME; requests with the same value always go to the same variant
    limits.max_body, limits.queue, limits.timeout               such as 64MiB, 1024, 60s
    workers.replicas, workers.env, workers.keep_warm            such as 2, auto, 300s
    wait             false: return once the deployment is accepted, not when it is ready
    wait_timeout     seconds to wait (600)
    run-local takes the options of legion serve: port, host, workers, env, max_body, timeout …

A new model of an existing deployment under test, with a tenth of the requests:
    mlflow deployments update -t legion --name wine -m models:/wine@challenger -C variant=challenger -C weight=10
"""


def target_help() -> str:
    """What `mlflow deployments help -t legion` prints."""
    return _HELP


def connected(target_uri: str) -> Client:
    """A client of the gateway that the target names. Raises UsageError."""
    name, _, address = target_uri.partition(":")
    if name != "legion" or address.startswith("/"):
        raise UsageError(f"{target_uri!r} is not a target of Legion; write legion or legion:http://HOST:PORT")
    return connect(address or None)


@contextmanager
def as_mlflow() -> Iterator[None]:
    """Raise MlflowException for what Legion raises inside."""
    try:
        yield
    except LegionError as error:
        raise MlflowException(str(error), error_code=_code(error)) from error


def _code(error: LegionError) -> int:
    if isinstance(error, GatewayRefused):
        known = {401: codes.UNAUTHENTICATED, 403: codes.PERMISSION_DENIED, 404: codes.RESOURCE_DOES_NOT_EXIST}
        return int(known.get(error.status, codes.INVALID_PARAMETER_VALUE))
    return int(codes.TEMPORARILY_UNAVAILABLE if isinstance(error, OutsideError) else codes.INVALID_PARAMETER_VALUE)
