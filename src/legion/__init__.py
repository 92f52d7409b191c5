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

# __init__.pyi tells type checkers the same.
_WHERE = {
    "Client": "legion.client",
    "LegionError": "legion.errors",
    "Server": "legion.api.serving",
    "connect": "legion.api.deployments",
    "deploy": "legion.api.deployments",
    "inspect": "legion.api.artifacts",
    "pack": "legion.api.artifacts",
    "predict": "legion.api.prediction",
    "promote": "legion.api.versions",
    "register": "legion.api.versions",
    "serve": "legion.api.serving",
    "train": "legion.api.training",
    "verify": "legion.api.artifacts",
}


def __getattr__(name: str) -> object:
    # Here, so that importing the package imports nothing.
    import importlib  # noqa: PLC0415

    if name == "errors":
        return importlib.import_module("legion.errors")
    if name not in _WHERE:
        raise AttributeError(f"module 'legion' has no attribute {name!r}")
    found = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__} - {"_WHERE"})
