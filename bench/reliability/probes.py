"""The models that are served in the proofs: each answers with its own number and with what it was asked."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from legion.artifact.archive import pack
from legion.artifact.manifest import Binaries, Manifest, Model, Toolchain

NAME = "probe"
_SOURCE = """\
import os, time

def init():
    {init}
    return "matrix"

def predict_on_matrix(input_matrix, provided_columns_names=None):
    {predict}
    return [[{answer}, row[0]] for row in input_matrix.tolist()], ["v", "a"]

def get_info():
    number = lambda name: {{"name": name, "type": "number"}}
    return [number("a")], [number("v"), number("a")]
"""


def body(value: float) -> bytes:
    """A request of one row."""
    return b'{"dataframe_split": {"columns": ["a"], "data": [[%d]]}}' % value


def artifact(
    out: Path,
    answer: int,
    *,
    init: str = "pass",
    predict: str = "pass",
    golden: int | None = None,
    requirement: str = "numpy",
    version: str | None = None,
    merges: bool = True,
) -> Path:
    """Pack the model that answers `answer`; `golden` is what its golden answers say where they are wrong.

    Without `merges` its golden answers do not prove that requests may be merged.
    """
    with tempfile.TemporaryDirectory(prefix="legion-probe-") as scratch:
        folder = Path(scratch)
        (folder / "conda.yaml").write_text(f"dependencies:\n- pip:\n  - {requirement}\n")
        (folder / "entrypoint.py").write_text(_SOURCE.format(answer=answer, init=init, predict=predict))
        given = answer if golden is None else golden
        # Two different rows, which is what proves that requests may be merged.
        cases = [
            {"request": json.loads(body(value)), "response": {"predictions": [{"v": given, "a": float(value)}]}}
            for value in ((1, 2) if merges else (1,))
        ]
        (folder / "legion.golden.json").write_text(json.dumps({"format": 1, "deterministic": True, "cases": cases}))
        manifest = Manifest(
            Model(NAME, version or f"1.0.0-{answer}"),
            Toolchain("hand", "1.0.0"),
            Binaries(conda_path="conda.yaml"),
        )
        pack(folder, manifest, out)
    return out
