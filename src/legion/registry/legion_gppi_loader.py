"""The loader of Legion's MLflow flavor: a GPPI module as a `python_function` model.

It stands alone: this file is uploaded with the model as it is, and needs what MLflow brings only (numpy, pandas,
PyYAML); Legion need not be installed. `mlflow.pyfunc.load_model` calls `_load_pyfunc`.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

# One process may hold several models, and all call their module `entrypoint`.
_loading = threading.RLock()
_folders: list[str] = []


class GppiModel:
    """A GPPI module, generation 2, behind the interface that MLflow calls."""

    def __init__(self, module: Any, location: str) -> None:
        self._module = module
        self._location = location
        self.mode = module.init()
        if self.mode not in ("matrix", "objects"):
            raise ValueError(f"init() of the entrypoint returned {self.mode!r}; let it return 'matrix' or 'objects'")
        self._input_type = _object_type(_optional(module, "get_object_input_type"))
        self._serializer = _optional(module, "get_output_json_serializer")

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Predict a DataFrame, an array of shape (rows, columns), or a list of dicts; `params` are not used.

        A matrix comes back as the module gave it, or as a DataFrame where it named the columns; objects come
        back as a list. Raises ValueError where a declared object type refuses a row.
        """
        os.environ["MODEL_LOCATION"] = self._location
        if self.mode == "objects":
            return self._serialised(self._module.predict_on_objects(self._checked(_objects(model_input))))
        names, matrix = _matrix(model_input)
        answer = self._module.predict_on_matrix(matrix, provided_columns_names=names)
        if _is_pair(answer):
            frame = pd.DataFrame(_dense(answer[0]), columns=list(answer[1]))
            if self._serializer is None:
                return frame
            return self._serialised(frame.to_dict(orient="records"))
        return self._serialised(_dense(answer))

    def _checked(self, objects: list[Any]) -> list[Any]:
        # pydantic 2, then 1.
        validate = getattr(self._input_type, "model_validate", None) or getattr(self._input_type, "parse_obj", None)
        return objects if validate is None else [validate(item) for item in objects]

    def _serialised(self, answer: Any) -> Any:
        """The values as the module's own JSON encoder class writes them, where it declares one."""
        if self._serializer is None:
            return answer
        try:
            text = json.dumps(answer, cls=self._serializer)
        except TypeError:
            # The class need not know arrays and frames.
            plain = answer.to_dict(orient="records") if hasattr(answer, "columns") else answer.tolist()
            text = json.dumps(plain, cls=self._serializer)
        return json.loads(text)


def _load_pyfunc(path: str) -> GppiModel:
    """Import the entrypoint that the MLmodel file in `path` names. Raises ValueError with what to correct."""
    root = Path(path).resolve()
    described = yaml.safe_load((root / "MLmodel").read_text(encoding="utf-8"))["flavors"]["legion"]
    folder = (root / described["work_dir"]).resolve()
    with _loading, _at_home(folder):
        importlib.invalidate_caches()
        module = importlib.import_module(described["entrypoint"])
        if not callable(getattr(module, "init", None)):
            raise ValueError(f"the entrypoint {described['entrypoint']!r} has no init()")
        return GppiModel(module, str(folder))


@contextlib.contextmanager
def _at_home(folder: Path) -> Iterator[None]:
    """The working directory and MODEL_LOCATION of the model while it loads; its folder stays on the path after."""
    before, compiled, home = Path.cwd(), sys.dont_write_bytecode, str(folder)
    _forget(home)
    sys.path.insert(0, home)
    # Absolute, since the working directory is the caller's again when the model predicts.
    os.environ["MODEL_LOCATION"] = home
    # The folder may be the registry's own; nothing is to be written there.
    sys.dont_write_bytecode = True
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.dont_write_bytecode = compiled


def _forget(home: str) -> None:
    """Drop the modules of models that were loaded before, so that this model's own of the same names are found.

    The models that hold them keep them.
    """
    for name, module in list(sys.modules.items()):
        # Of a namespace package the file is None.
        file = getattr(module, "__file__", None) or ""
        if name != __name__ and any(file.startswith(folder + os.sep) for folder in _folders):
            del sys.modules[name]
    _folders.append(home)


def _objects(given: Any) -> list[Any]:
    if isinstance(given, pd.DataFrame):
        # A missing cell is NaN in a frame and null in a request.
        return given.astype(object).where(given.notna(), None).to_dict(orient="records")
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _matrix(given: Any) -> tuple[list[str] | None, Any]:
    """The column names, None where there are none, and the cells of shape (rows, columns)."""
    if isinstance(given, (dict, pd.Series)) or (isinstance(given, list) and given and isinstance(given[0], dict)):
        given = pd.DataFrame(given)
    if not isinstance(given, pd.DataFrame):
        return None, given
    named = not isinstance(given.columns, pd.RangeIndex)
    return [str(name) for name in given.columns] if named else None, given.to_numpy()


def _is_pair(answer: Any) -> bool:
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], (list, tuple)) and answer[1]):
        return False
    if not all(isinstance(name, str) for name in answer[1]):
        return False
    # Two rows of text look like it, but for the first one, which is no matrix.
    flat = isinstance(answer[0], (list, tuple)) and not any(hasattr(row, "__len__") for row in answer[0])
    return not flat or len(answer[1]) == 1


def _dense(matrix: Any) -> Any:
    """Tuples as lists and sparse matrices as arrays: what MLflow can write as JSON."""
    if hasattr(matrix, "toarray"):
        return matrix.toarray()
    if isinstance(matrix, tuple):
        matrix = list(matrix)
    if isinstance(matrix, list):
        matrix = [row.tolist() if hasattr(row, "tolist") else row for row in matrix]
        return [list(row) if isinstance(row, tuple) else row for row in matrix]
    return matrix


def _optional(module: Any, name: str) -> Any:
    function = getattr(module, name, None)
    return function() if callable(function) else None


def _object_type(declared: Any) -> Any:
    # typing.List[Wine] → Wine: the type of one object.
    arguments = getattr(declared, "__args__", None)
    return arguments[0] if arguments and not inspect.isclass(declared) else declared
