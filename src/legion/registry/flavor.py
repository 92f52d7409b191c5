"""Legion's MLflow flavor: what is added to a tree that is no MLflow model, so that a plain MLflow client loads it.

Two files: an MLmodel with the flavors `python_function` and `legion`, and the loader in a folder of its own. They are
no part of the artifact; whoever pulls it leaves them out again.
"""

from __future__ import annotations

import ast
import importlib.resources
import json
from pathlib import Path
from typing import Any

import yaml

from legion.artifact.manifest import Manifest
from legion.artifact.mlmodel import FILE_NAME, read_mlmodel
from legion.environment.spec import read_spec
from legion.errors import EnvironmentRefused, RefusedError

LOADER = "legion_gppi_loader"
FOLDER = "legion_pyfunc"
FORMAT = 1
# What descriptions in the wild call their types → MLflow's names.
_TYPES = {
    "number": "double",
    "double": "double",
    "float": "double",
    "float64": "double",
    "float32": "float",
    "int": "long",
    "long": "long",
    "int64": "long",
    "integer": "integer",
    "int32": "integer",
    "bool": "boolean",
    "boolean": "boolean",
    "str": "string",
    "string": "string",
}


def add(tree: Path, manifest: Manifest, mlflow_version: str) -> None:
    """Write the flavor's files into an unpacked artifact; nothing where it is an MLflow model already.

    A model that MLflow cannot run (java, or an image's dependencies) gets the `legion` flavor alone.
    """
    if (tree / FILE_NAME).exists() or (tree / FOLDER).exists():
        return
    model = manifest.model
    legion = {
        "format": FORMAT,
        "name": model.name,
        "version": model.version,
        "work_dir": model.work_dir,
        "entrypoint": model.entrypoint,
    }
    document: dict[str, Any] = {"flavors": {"legion": legion}, "mlflow_version": mlflow_version}
    if manifest.binaries.type == "python" and manifest.binaries.dependencies == "conda":
        document["flavors"]["python_function"] = {
            "loader_module": LOADER,
            "code": FOLDER,
            **_environment(tree, manifest.binaries.conda_path),
        }
        if (signature := told_signature(tree / model.work_dir, model.entrypoint)) is not None:
            document["signature"] = signature
        (tree / FOLDER).mkdir()
        (tree / FOLDER / f"{LOADER}.py").write_bytes(_loader_source())
    (tree / FILE_NAME).write_text(yaml.safe_dump(document, sort_keys=True), encoding="utf-8")


def added(name: str) -> bool:
    """Whether a file of this name, relative to the tree, is one that `add` writes."""
    return name == FILE_NAME or name.startswith(f"{FOLDER}/")


def is_in(tree: Path) -> bool:
    """Whether the MLmodel file in this folder was written by `add`."""
    try:
        flavors = read_mlmodel(tree).flavors
    except RefusedError:
        return False
    loader = flavors.get("python_function", {}).get("loader_module", LOADER)
    return "format" in flavors.get("legion", {}) and loader == LOADER


def _environment(tree: Path, conda_path: str | None) -> dict[str, Any]:
    """The flavor's fields that say what the model runs in."""
    if conda_path is None or not conda_path.endswith((".yaml", ".yml")):
        return {}
    fields: dict[str, Any] = {"env": {"virtualenv" if conda_path.endswith("python_env.yaml") else "conda": conda_path}}
    try:
        python = read_spec(tree, conda_path).python
    except EnvironmentRefused:
        return fields
    return fields if python is None else {**fields, "python_version": python}


def _loader_source() -> bytes:
    return importlib.resources.files(__package__).joinpath(f"{LOADER}.py").read_bytes()


def told_signature(workdir: Path, entrypoint: str) -> dict[str, str] | None:
    """MLflow's signature out of a GPPI module's `get_info` (or `info`), read without running it.

    None unless the source says it in literals (the pair of lists is returned as it is, or by the name of a
    constant) and the module takes a matrix: objects pass MLflow unchecked.
    """
    try:
        body = ast.parse((workdir / f"{entrypoint.replace('.', '/')}.py").read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    if _returned(body, "init") != "matrix":
        return None
    info = _returned(body, "get_info") or _returned(body, "info")
    if not (isinstance(info, (tuple, list)) and len(info) == 2):
        return None
    inputs, outputs = (_columns(side) for side in info)
    if not inputs:
        return None
    return {"inputs": json.dumps(inputs)} | ({"outputs": json.dumps(outputs)} if outputs else {})


def _returned(body: list[ast.stmt], function: str) -> Any:
    """The literal that a function of the module returns, where returning it is all the function ends with."""
    constants = {
        target.id: statement.value
        for statement in body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and statement.name == function:
            returns = [node for node in ast.walk(statement) if isinstance(node, ast.Return)]
            if len(returns) != 1 or returns[0] is not statement.body[-1] or returns[0].value is None:
                return None
            try:
                return ast.literal_eval(_Spelt(constants).visit(returns[0].value))
            except (ValueError, TypeError, RecursionError):
                return None
    return None


class _Spelt(ast.NodeTransformer):
    """Puts the module's constants in the places of their names."""

    def __init__(self, constants: dict[str, ast.expr]) -> None:
        self._constants = constants

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._constants.get(node.id, node)


def _columns(side: Any) -> list[dict[str, Any]] | None:
    """MLflow's column specs, None where the description is no list of named scalars."""
    if not isinstance(side, (list, tuple)) or not all(isinstance(item, dict) for item in side):
        return None
    columns = []
    for item in side:
        kind = _TYPES.get(str(item.get("type", "double")))
        if kind is None or not isinstance(item.get("name"), str):
            return None
        columns.append({"type": kind, "name": item["name"], "required": bool(item.get("required", True))})
    return columns
