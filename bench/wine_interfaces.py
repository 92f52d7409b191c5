"""The wine model behind other interfaces: GPPI in rows, GPPI in typed objects, and linear in Python and in Java."""

from __future__ import annotations

import shutil
from pathlib import Path

import models
from models import BIN, ROOT, WORK, Model

_HOME = WORK / "interfaces"
_JAVA = ROOT / "examples" / "java-wine"

_NAMED = """
def get_info():
    columns = [{"name": name, "type": "number", "example": 1.0, "required": True} for name in NAMES]
    return columns, [{"name": "quality", "type": "number", "example": 5.5, "required": True}]
"""
# The estimator without its names: rows come in their order, and scikit-learn would warn at every call.
_LOADED = """
import skops.io

model = skops.io.load("model.skops")
NAMES = model.feature_names_in_.tolist()
del model.feature_names_in_
"""
_MATRIX = f"""{_LOADED}

def init():
    return "matrix"


def predict_on_matrix(input_matrix, provided_columns_names=None):
    return model.predict(input_matrix).reshape(-1, 1), ["quality"]

{_NAMED}"""
_OBJECTS = f"""{_LOADED}
import numpy as np
import pydantic

Wine = pydantic.create_model("Wine", **{{name: (float, ...) for name in NAMES}})


class Quality(pydantic.BaseModel):
    quality: float


def init():
    return "objects"


def get_object_input_type():
    return Wine


def get_object_output_type():
    return Quality


def predict_on_objects(objects):
    rows = [[getattr(wine, name) for name in NAMES] for wine in objects]
    return [Quality(quality=quality) for quality in model.predict(np.array(rows)).tolist()]
"""
_LINEAR = f"""
import csv

import numpy as np

with open("weights.csv", newline="") as file:
    *cells, (_, last) = [row[:2] for row in csv.reader(file)]
NAMES = [name for name, _ in cells]
WEIGHTS = np.array([float(weight) for _, weight in cells])
INTERCEPT = float(last)


def init():
    return "matrix"


def predict_on_matrix(input_matrix, provided_columns_names=None):
    return (input_matrix @ WEIGHTS + INTERCEPT).reshape(-1, 1), ["quality"]

{_NAMED}"""


def matrix(wine: Model) -> Path:
    """GPPI 2 in matrix mode."""
    return _with_estimator(wine, "matrix", _MATRIX)


def objects(wine: Model) -> Path:
    """GPPI 2 in objects mode, a pydantic type for what comes in and one for what goes out."""
    return _with_estimator(wine, "objects", _OBJECTS)


def _with_estimator(wine: Model, name: str, source: str) -> Path:
    folder = models.gppi(_HOME / name, source)
    shutil.copyfile(wine.folder / "model.skops", folder / "model.skops")
    return folder


def linear() -> Path:
    """The computation of examples/java-wine as GPPI 2, by numpy."""
    folder = models.gppi(_HOME / "gppi", _LINEAR)
    shutil.copyfile(_JAVA / "weights.csv", folder / "weights.csv")
    return folder


def java() -> Path | None:
    """The artifact of examples/java-wine, built by `make java`; None where there is no JDK."""
    if shutil.which("javac") is None or shutil.which("jar") is None:
        return None
    sources = [ROOT / "Makefile", *sorted(path for path in _JAVA.rglob("*") if path.is_file())]
    models.once(_HOME / "gjpi", "pack gjpi", models.legion_stamp() + models.stamp(sources), _pack_java)
    return _HOME / "gjpi" / "gjpi.zip"


def _pack_java(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    models.run(["make", "-C", str(ROOT), "java"])
    options = ["--name", "gjpi", "--version", "1.0.0-bench", "--golden", str(_JAVA / "golden.json")]
    jar = ROOT / "build" / "java-wine" / "wine.jar"
    models.run([str(BIN / "legion"), "pack", str(jar), *options, "--env", "local", "-o", str(home / "gjpi.zip")])
