"""One model of wine quality behind every interface that Legion serves."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import mlflow.pyfunc
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import ElasticNet

from java_models import ROOT, compiled, jar

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "wine"))
from wine_data import COLUMNS, TARGET, load

__all__ = ["ANSWER_ALL", "COLUMNS", "MODELS", "OBJECTS", "TARGET", "TYPED", "Wine"]

_INFO = f"""
    COLUMNS = {COLUMNS!r}

    def get_info():
        return (
            [{{"name": name, "type": "number", "example": 1.0, "required": True}} for name in COLUMNS],
            [{{"name": "quality", "type": "number", "example": 5.5, "required": True}}],
        )
"""
_MATRIX = (
    """
    import joblib

    def init():
        global model
        model = joblib.load("model.joblib")
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return model.predict(input_matrix).reshape(-1, 1), ["quality"]
"""
    + _INFO
)
_OBJECTS = (
    """
    import joblib

    def init():
        global model
        model = joblib.load("model.joblib")
        return "objects"

    def predict_on_objects(objects):
        rows = [[one[name] for name in COLUMNS] for one in objects]
        return [{"quality": float(value)} for value in model.predict(rows)] if rows else []
"""
    + _INFO
)
_TYPE = f"""
    import pydantic

    COLUMNS = {COLUMNS!r}
    Row = pydantic.create_model(
        "Row", __config__={{"extra": "forbid"}}, **{{name: (float, ...) for name in COLUMNS}}
    )
"""
_TYPED_OBJECTS = (
    """
    from typing import List

    import joblib

    def init():
        global model
        model = joblib.load("model.joblib")
        return "objects"

    def get_object_input_type():
        return List[Row]

    def predict_on_objects(objects):
        rows = [[getattr(one, name) for name in COLUMNS] for one in objects]
        return [{"quality": float(value)} for value in model.predict(rows)] if rows else []
"""
    + _TYPE
)
_GENERATION_1 = (
    """
    import joblib

    def init():
        global model
        model = joblib.load("model.joblib")

    def info():
        return Row

    def columns_order():
        return COLUMNS

    def predict_matrix(matrix):
        return model.predict(matrix)
"""
    + _TYPE
)
_PYTHON_MODEL = """
import joblib
import mlflow.pyfunc


class Wine(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.model = joblib.load(context.artifacts["model"])

    def predict(self, context, model_input, params=None):
        return self.model.predict(model_input.to_numpy())


mlflow.models.set_model(Wine())
"""


class Wine:
    """The fitted estimator, rows to ask it, and its own answers to them."""

    def __init__(self) -> None:
        table = load(Path("/dev/null"), 0)
        train, self.rows = table.iloc[:400], table.iloc[400:420].reset_index(drop=True)[COLUMNS]
        # Fitted without names, so that every interface may give it a bare matrix.
        self.estimator = ElasticNet(alpha=0.01).fit(train[COLUMNS].to_numpy(), train[TARGET])
        self.answers = [float(value) for value in self.estimator.predict(self.rows.to_numpy())]

    @property
    def data(self) -> list[list[Any]]:
        """The rows as plain values."""
        return self.rows.to_numpy().tolist()


_JAVA_MANIFEST = """\
binaries:
  type: java
  dependencies: conda
model:
  name: wine
  version: 1.0.0-test
  workDir: .
  entrypoint: wine.jar
legionVersion: '1.0'
toolchain:
  name: hand
  version: 1.0.0
"""


Build = Callable[[Wine, Path, Callable[..., Path]], Path]


def _sklearn(wine: Wine, folder: Path, gppi_folder: Callable[..., Path]) -> Path:
    signature = infer_signature(wine.rows, pd.Series(wine.answers, name="quality"))
    mlflow.sklearn.save_model(
        wine.estimator, folder / "model", signature=signature, input_example=wine.rows[:3], pip_requirements=[]
    )
    return folder / "model"


def _python_model(wine: Wine, folder: Path, gppi_folder: Callable[..., Path]) -> Path:
    joblib.dump(wine.estimator, folder / "model.joblib")
    (folder / "wine_model.py").write_text(_PYTHON_MODEL)
    mlflow.pyfunc.save_model(
        folder / "model",
        python_model=str(folder / "wine_model.py"),
        artifacts={"model": str(folder / "model.joblib")},
        signature=infer_signature(wine.rows, pd.Series(wine.answers, name="quality")),
        pip_requirements=[],
    )
    return folder / "model"


def _gppi(source: str) -> Build:
    def build(wine: Wine, folder: Path, gppi_folder: Callable[..., Path]) -> Path:
        made = gppi_folder(source, name="wine")
        joblib.dump(wine.estimator, made / "model.joblib")
        return made

    return build


def _java(wine: Wine, folder: Path, gppi_folder: Callable[..., Path]) -> Path:
    """The example's class over these weights."""
    source = ROOT / "examples" / "java-wine" / "WineModel.java"
    weights = [f"{name},{weight!r},1.0" for name, weight in zip(COLUMNS, wine.estimator.coef_.tolist(), strict=True)]
    model = folder / "model"
    model.mkdir()
    (model / "legion.model.yaml").write_text(_JAVA_MANIFEST)
    classes = compiled(folder, WineModel=source.read_text())
    with zipfile.ZipFile(jar(model / "wine.jar", classes, "example.WineModel"), "a") as archive:
        archive.writestr(
            "example/weights.csv", "\n".join([*weights, f"intercept,{float(wine.estimator.intercept_)!r}"])
        )
    return model


# Those that take objects, and those that hold them against a type of their own.
OBJECTS = ("gppi2-objects", "gppi2-typed")
TYPED = ("gppi2-typed", "gppi1")
# Name in the server → how its folder is made. An interface more is a row more.
MODELS: dict[str, Build] = {
    "sklearn": _sklearn,
    "python-model": _python_model,
    "gppi2-matrix": _gppi(_MATRIX),
    "gppi2-objects": _gppi(_OBJECTS),
    "gppi2-typed": _gppi(_TYPED_OBJECTS),
    "gppi1": _gppi(_GENERATION_1),
}
# Those that compute with whatever numbers they get, NaN and none included.
ANSWER_ALL = ("gjpi",)
if shutil.which("javac"):
    MODELS["gjpi"] = _java
