"""The names of the package for type checkers; __init__.py loads them when they are used."""

from legion import errors as errors
from legion.api import cache as cache
from legion.api import deployments as deployments
from legion.api import models as models
from legion.api.artifacts import inspect as inspect
from legion.api.artifacts import unpack as unpack
from legion.api.artifacts import verify as verify
from legion.api.deployments import connect as connect
from legion.api.deployments import deploy as deploy
from legion.api.doctor import doctor as doctor
from legion.api.models import promote as promote
from legion.api.packing import pack as pack
from legion.api.prediction import predict as predict
from legion.api.registration import register as register
from legion.api.serving import Server as Server
from legion.api.serving import serve as serve
from legion.api.training import train as train
from legion.api.up import Stack as Stack
from legion.api.up import up as up
from legion.client import Client as Client
from legion.errors import LegionError as LegionError

__version__: str

__all__ = [
    "Client",
    "LegionError",
    "Server",
    "Stack",
    "cache",
    "connect",
    "deploy",
    "deployments",
    "doctor",
    "errors",
    "inspect",
    "models",
    "pack",
    "predict",
    "promote",
    "register",
    "serve",
    "train",
    "unpack",
    "up",
    "verify",
]
