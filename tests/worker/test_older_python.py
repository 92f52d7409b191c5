"""A worker under the oldest Python that models are pinned to, beside a parent that is newer."""

from __future__ import annotations

import ast
import json
import textwrap
from pathlib import Path

import pytest

from legion import replica, wire
from legion.environment.discovery import find_python
from legion.environment.spec import EnvironmentSpec
from legion.environment.uv import realise
from legion.errors import EnvironmentBuildError

MODEL = """
    import sys

    def init(): return "matrix"
    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[row.sum()] for row in input_matrix], ["sum"]
    def get_info():
        return [{"name": "a", "type": "number"}, {"name": "b", "type": "number"}], []
"""
GOLDEN = {
    "cases": [
        {
            "request": {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
            "response": {"predictions": [{"sum": 3.0}, {"sum": 7.0}]},
        }
    ]
}


@pytest.fixture(scope="module")
def python39(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with what a worker needs and nothing else: not Legion, not MLflow."""
    folder = tmp_path_factory.mktemp("python39") / "venv"
    folder.mkdir()
    try:
        find_python("3.9", folder=folder, say=print)
    except EnvironmentBuildError as error:
        pytest.skip(f"no Python 3.9 here: {error}")
    return realise(EnvironmentSpec(python="3.9"), cache=folder, say=print)


@pytest.mark.slow
def test_every_protocol_under_python_39(python39: Path, tmp_path: Path) -> None:
    (tmp_path / "entrypoint.py").write_text(textwrap.dedent(MODEL))
    (tmp_path / "legion.golden.json").write_text(json.dumps(GOLDEN))
    plan = wire.Plan("probe", "1", str(tmp_path), "gppi", golden="legion.golden.json")
    calls = [
        wire.Call(wire.MLFLOW, b'{"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2]]}}'),
        wire.Call(wire.MLFLOW, b'{"dataframe_records": [{"a": 1, "b": null}]}'),
        wire.Call(wire.MLFLOW, b"a,b\n1,2\n3,4\n", "text/csv"),
        wire.Call(wire.LEGION, b'{"data": [[1, 2.5]]}'),
        wire.Call(wire.MLFLOW, b'{"inputs": {"a": [1], "b": ["x"]}}'),
        wire.Call(wire.MLFLOW, b'{"instances": [{"a": 1}]}'),
        wire.Call(wire.MLFLOW, b"[" * 100_000),
        wire.Call(wire.MLFLOW, json.dumps({"dataframe_split": {"data": [[1.5, 2.5]] * 2000}}).encode()),
    ]
    report, replies = replica.ask(plan, python39, calls)
    assert report.python_version.startswith("3.9.")
    assert report.merges
    bodies = [json.loads(reply.body) for reply in replies]
    assert [reply.status for reply in replies] == [200, 200, 200, 200, 400, 400, 400, 200]
    assert bodies[:4] == [
        {"predictions": [{"sum": 3.0}]},
        {"predictions": [{"sum": None}]},
        {"predictions": [{"sum": 3.0}, {"sum": 7.0}]},
        {"prediction": [[3.5]], "columns": ["sum"]},
    ]
    assert "column 'b': expected a number, got the text 'x'" in bodies[4]["message"]
    assert bodies[7] == {"predictions": [{"sum": 4.0}] * 2000}


SOURCE = Path(wire.__file__).parent
MODULES = sorted(
    [*(SOURCE / "worker").rglob("*.py"), *(SOURCE / "interface").rglob("*.py")]
    + [SOURCE / name for name in ("__init__.py", "errors.py", "signature.py", "wire.py")]
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_the_worker_s_source_is_python_39(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    assert [node.lineno for node in keywords if node.arg in ("slots", "kw_only")] == []
    zips = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "zip"]
    assert [node.lineno for node in zips if node.keywords] == []
    # Annotations of a class are evaluated where msgspec reads them.
    fields = [node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    united = [node for field in fields for node in ast.walk(field.annotation) if isinstance(node, ast.BinOp)]
    assert [node.lineno for node in united] == []
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Match)] == []
