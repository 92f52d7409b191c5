"""The models that both servers serve, written once a test session by MLflow itself."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Map, Object, Property
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

HERE = Path(__file__).parent
SCALARS = ("double", "float", "long", "integer", "boolean", "string", "binary", "datetime")


def _schemas() -> dict[str, Schema]:
    scalars = {
        f"{kind}_columns": Schema([ColSpec(DataType[kind], "a"), ColSpec(DataType[kind], "b", required=False)])
        for kind in SCALARS
    }
    return scalars | {
        "pair": Schema([ColSpec("double", "a"), ColSpec("double", "b")]),
        "mixed": Schema([ColSpec(kind, kind) for kind in ("double", "long", "string", "boolean")]),
        "unnamed": Schema([ColSpec("double"), ColSpec("double")]),
        "unnamed_mixed": Schema([ColSpec("long"), ColSpec("string")]),
        "unnamed_one": Schema([ColSpec("double")]),
        "unnamed_text": Schema([ColSpec("string")]),
        "one_double": Schema([ColSpec("double", "a")]),
        "one_text": Schema([ColSpec("string", "a")]),
        "one_long": Schema([ColSpec("long", "a")]),
        "one_datetime": Schema([ColSpec("datetime", "a")]),
        "optional_only": Schema([ColSpec("double", "a", required=False), ColSpec("string", "b", required=False)]),
        "tensor": Schema([TensorSpec(np.dtype("float32"), (-1, 2))]),
        "tensor_named": Schema([TensorSpec(np.dtype("int64"), (-1, 2), "t")]),
        "tensors": Schema([TensorSpec(np.dtype("float64"), (-1, 2), "t"), TensorSpec(np.dtype("int32"), (-1,), "u")]),
        "tensor_images": Schema([TensorSpec(np.dtype("uint8"), (-1, 2, 2), "image")]),
        "arrays": Schema([ColSpec(Array(DataType.double), "a"), ColSpec("long", "n")]),
        "objects": Schema(
            [ColSpec(Object([Property("x", DataType.double), Property("y", DataType.string, False)]), "o")]
        ),
        "maps": Schema([ColSpec(Map(DataType.long), "m")]),
        "anything": Schema([ColSpec(AnyType(), "z", required=False)]),
    }


_PARAMS = ParamSchema(
    [
        ParamSpec("rate", "double", 0.5),
        ParamSpec("count", "integer", 3),
        ParamSpec("label", "string", "none"),
        ParamSpec("flag", "boolean", False),
        ParamSpec("many", "long", [1, 2], (-1,)),
    ]
)


def _save(model: str, folder: Path, **kwargs: Any) -> None:
    mlflow.pyfunc.save_model(folder, python_model=str(HERE / "models" / model), pip_requirements=[], **kwargs)


def _echo(schema: Schema | None, **kwargs: Any) -> Callable[[Path], None]:
    params = kwargs.pop("params", None)
    signature = None if schema is None and params is None else ModelSignature(inputs=schema, params=params)
    return lambda folder: _save("echo.py", folder, signature=signature, **kwargs)


def _sklearn(make: Callable[[], tuple[Any, pd.DataFrame]], **kwargs: Any) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        model, rows = make()
        signature = infer_signature(rows, getattr(model, kwargs.get("pyfunc_predict_fn", "predict"))(rows))
        mlflow.sklearn.save_model(
            model, folder, signature=signature, input_example=rows[:4], pip_requirements=[], **kwargs
        )

    return build


def _numbers() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(draw.normal(size=(40, 3)), columns=["a", "b", "c"])


def _linear() -> tuple[Any, pd.DataFrame]:
    rows = _numbers()
    return LinearRegression().fit(rows, rows.a - 2 * rows.b), rows


def _multiple_targets() -> tuple[Any, pd.DataFrame]:
    rows = _numbers()
    return LinearRegression().fit(rows, rows[["b", "c"]].to_numpy()), rows


def _classes() -> tuple[Any, pd.DataFrame]:
    rows = _numbers()
    labels = np.where(rows.a > 0, "red", "white")
    return LogisticRegression().fit(rows, labels), rows


def _integers() -> tuple[Any, pd.DataFrame]:
    rows = (_numbers() * 10).astype({"a": "int64", "b": "int32", "c": "int64"})
    return LinearRegression().fit(rows, rows.a), rows


def _categories() -> tuple[Any, pd.DataFrame]:
    rows = pd.DataFrame({"colour": ["red", "white"] * 20})
    pipeline = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LinearRegression())
    return pipeline.fit(rows, np.arange(40) % 2), rows


def answer_kinds() -> tuple[str, ...]:
    """The kinds of value that models/answers.py can return."""
    spec = importlib.util.spec_from_file_location("answer_kinds", HERE / "models" / "answers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return (*module.KINDS, "raises", "exits")


def builders() -> dict[str, Callable[[Path], None]]:
    """Name → what writes the model into a folder."""
    echoes = {name: _echo(schema) for name, schema in _schemas().items()}
    others = {
        "no_signature": _echo(None),
        "index": _echo(Schema([ColSpec("double", "a")]), model_config={"index": True}),
        "params": _echo(Schema([ColSpec("double", "a")]), params=_PARAMS),
        "params_only": _echo(None, params=_PARAMS),
        "hinted_numbers": lambda folder: _save("hinted_numbers.py", folder),
        "hinted_objects": lambda folder: _save("hinted_objects.py", folder),
        "linear": _sklearn(_linear),
        "multiple_targets": _sklearn(_multiple_targets),
        "classes": _sklearn(_classes),
        "probabilities": _sklearn(_classes, pyfunc_predict_fn="predict_proba"),
        "integers": _sklearn(_integers),
        "categories": _sklearn(_categories),
    }
    answers = {
        f"answers_{kind}": (
            lambda folder, kind=kind: _save(
                "answers.py",
                folder,
                signature=ModelSignature(inputs=Schema([ColSpec("double", "a")])),
                model_config={"kind": kind},
            )
        )
        for kind in answer_kinds()
    }
    return {**echoes, **others, **answers}


def build_all(root: Path) -> dict[str, Path]:
    """Write every model; name → folder."""
    folders = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, build in builders().items():
            folders[name] = root / name
            build(folders[name])
    return folders


if __name__ == "__main__":
    build_all(Path(sys.argv[1]))
