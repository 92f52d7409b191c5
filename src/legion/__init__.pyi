"""The names of the package for type checkers; __init__.py loads them when they are used."""

from legion import errors as errors
from legion.api.artifacts import inspect as inspect
from legion.api.artifacts import pack as pack
from legion.api.artifacts import verify as verify
from legion.api.deployments import connect as connect
from legion.api.deployments import deploy as deploy
from legion.api.prediction import predict as predict
from legion.api.serving import Server as Server
from legion.api.serving import serve as serve
from legion.api.training import train as train
from legion.api.versions import promote as promote
from legion.api.versions import register as register
from legion.client import Client as Client
from legion.errors import LegionError as LegionError

__version__: str

__all__ = [
    "Client",
    "LegionError",
    "Server",
    "connect",
    "deploy",
    "errors",
    "inspect",
    "pack",
    "predict",
    "promote",
    "register",
    "serve",
    "train",
    "verify",
]
