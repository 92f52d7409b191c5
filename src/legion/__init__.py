"""Legion takes a machine-learning model from a training project to production.

    import legion

    trained = legion.train("examples/wine", {"alpha": 0.1}, "wine.zip")
    with legion.serve(trained.artifact) as server:
        print(server.client.predict(rows))

Each name below is loaded when it is first used: this file also runs inside models' environments, where little
else is installed. docs/python-api.md describes them all.
"""

__version__ = "0.1.0"

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

# __init__.pyi tells type checkers the same.
_MODULES = {
    "cache": "legion.api.cache",
    "deployments": "legion.api.deployments",
    "errors": "legion.errors",
    "models": "legion.api.models",
}
_WHERE = {
    "Client": "legion.client",
    "LegionError": "legion.errors",
    "Server": "legion.api.serving",
    "Stack": "legion.api.up",
    "connect": "legion.api.deployments",
    "deploy": "legion.api.deployments",
    "doctor": "legion.api.doctor",
    "inspect": "legion.api.artifacts",
    "pack": "legion.api.packing",
    "predict": "legion.api.prediction",
    "promote": "legion.api.models",
    "register": "legion.api.registration",
    "serve": "legion.api.serving",
    "train": "legion.api.training",
    "unpack": "legion.api.artifacts",
    "up": "legion.api.up",
    "verify": "legion.api.artifacts",
}


def __getattr__(name: str) -> object:
    # Here, so that importing the package imports nothing.
    import importlib  # noqa: PLC0415

    if name in _MODULES:
        found: object = importlib.import_module(_MODULES[name])
    elif name in _WHERE:
        found = getattr(importlib.import_module(_WHERE[name]), name)
    else:
        raise AttributeError(f"module 'legion' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__} - {"_MODULES", "_WHERE"})
