"""A packed linear model is served without the libraries that made it, and answers as it did with them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("mlflow", reason="packing needs the extra mlflow")

import mlflow.pyfunc
import mlflow.sklearn
from mlflow.models import infer_signature
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from legion.artifact.archive import open_artifact, unpack
from legion.artifact.plan import plan_for
from legion.replica import Replica
from legion.toolchain.export import Wish, export
from legion.wire import MLFLOW, Call, Plan, Reply

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

COLUMNS = ["a", "b", "c"]
DRAW = np.random.default_rng(11)
FRAME = pd.DataFrame(DRAW.normal(size=(60, 3)), columns=COLUMNS)
TARGET = FRAME.a * 3 - FRAME.b + 0.1 * DRAW.normal(size=60)


class Packed:
    """An artifact, unpacked, and the plan that its worker gets."""

    def __init__(self, model: Any, folder: Path, **options: Any) -> None:
        saved = folder / "model"
        example = FRAME.head(4)
        signature = infer_signature(FRAME, model.predict(FRAME))
        mlflow.sklearn.save_model(
            model, saved, signature=signature, input_example=example, pip_requirements=[], **options
        )
        wish = Wish(out=folder / "model.zip", env="local")
        self.made = export(saved, wish, fallback_name="model", cache=folder, say=lambda line: None)
        self.again = export(
            saved, Wish(out=folder / "b.zip", env="local"), fallback_name="model", cache=folder, say=lambda line: None
        )
        self.folder = folder / "unpacked"
        artifact = open_artifact(self.made.path)
        unpack(artifact, self.folder)
        self.plan: Plan = plan_for(self.folder, artifact.manifest)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return Packed(ElasticNet(alpha=0.01).fit(FRAME, TARGET), tmp_path_factory.mktemp("elastic"))


class Asked(msgspec.Struct):
    """The report, the replies, and the libraries that the worker has mapped: once it is ready, then after each reply.

    `resident` is its memory once it is ready, in kB.
    """

    report: Any
    replies: list[Reply]
    libraries: list[set[str]]
    resident: int


def ask(plan: Plan, *bodies: Any) -> Asked:
    async def run() -> Asked:
        replica = await Replica.start(plan, Path(sys.executable), start_timeout=60)
        try:
            resident, libraries, replies = rss(replica.pid), [mapped(replica.pid)], []
            for body in bodies:
                replies += await replica.send([Call(MLFLOW, json.dumps(body).encode())])
                libraries.append(mapped(replica.pid))
            return Asked(replica.report, replies, libraries, resident)
        finally:
            await replica.stop()

    return asyncio.run(run())


def mapped(pid: int) -> set[str]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in ("sklearn", "scipy", "pandas", "numpy") if f"/site-packages/{name}/" in maps}


def rss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def body(*rows: list[Any]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": COLUMNS, "data": list(rows)}}


def test_it_starts_and_answers_without_scikit_learn(packed: Packed) -> None:
    rows = FRAME.head(20).to_numpy()
    asked = ask(packed.plan, body(*rows.tolist()))
    assert (asked.report.path, asked.report.merges, asked.report.notes) == ("lowered", True, ())
    assert asked.report.golden_rows >= 3
    assert asked.libraries == [{"numpy"}, {"numpy"}]
    expected = mlflow.pyfunc.load_model(packed.plan.folder).predict(FRAME.head(20))
    np.testing.assert_allclose(json.loads(asked.replies[0].body)["predictions"], expected, rtol=1e-12)


def test_odd_rows_get_the_answers_of_the_estimator(packed: Packed) -> None:
    bodies = [
        body([1.0, 2.0, 3.0]),
        # Finite numbers whose sum is not: the estimator answers with infinity, which JSON writes as null.
        body([1e308, -1e308, 1e308]),
        body([None, 2.0, 3.0]),
        body([1.0, 2.0, 3.0], [float("nan"), 1.0, 1.0]),
        body([float("inf"), 1.0, 1.0]),
        body([1.0, 2.0]),
        body([1.0, 2.0, "three"]),
        body([1.0, 2.0, 3.0]),
    ]
    kept = ask(packed.plan, *bodies)
    loaded = ask(msgspec.structs.replace(packed.plan, linear=None), *bodies)
    assert loaded.report.path == kept.report.path == "lowered"
    assert [(r.status, r.body) for r in kept.replies] == [(r.status, r.body) for r in loaded.replies]
    assert [reply.status for reply in kept.replies] == [200, 200, 400, 400, 400, 400, 400, 200]
    assert b"NaN" in kept.replies[2].body
    # Loaded for the second request, and not before.
    assert "sklearn" not in kept.libraries[1]
    assert {"sklearn", "scipy"} <= kept.libraries[2]
    assert {"sklearn", "scipy"} <= loaded.libraries[0]
    assert kept.resident < loaded.resident / 2


def test_the_artifact_holds_the_numbers_and_the_same_ones_each_time(packed: Packed) -> None:
    written = json.loads((packed.folder / "legion.linear.json").read_bytes())
    model = mlflow.sklearn.load_model(packed.plan.folder)
    assert (written["format"], written["dtype"]) == (1, "float64")
    assert written["coefficients"] == model.coef_.tolist()
    assert written["intercept"] == model.intercept_
    assert packed.again.digest == packed.made.digest


def test_numbers_that_do_not_give_the_golden_answers_are_not_taken(packed: Packed, tmp_path: Path) -> None:
    written = json.loads((packed.folder / "legion.linear.json").read_bytes())
    written["intercept"] += 1e-6
    (tmp_path / "legion.linear.json").write_text(json.dumps(written))
    asked = ask(msgspec.structs.replace(packed.plan, linear=str(tmp_path / "legion.linear.json")))
    assert asked.report.path == "lowered"
    assert "sklearn" in asked.libraries[0]
    assert "no lowered shortcut: case 0 gave" in asked.report.notes[0]


@pytest.mark.parametrize("form", ["cloudpickle", "skops"])
def test_several_targets_and_other_formats(form: str, tmp_path: Path) -> None:
    model = LinearRegression().fit(FRAME, np.column_stack([TARGET, -TARGET]))
    packed = Packed(model, tmp_path, serialization_format=form)
    asked = ask(packed.plan, body(*FRAME.head(3).to_numpy().tolist()))
    assert (asked.report.path, asked.libraries[1]) == ("lowered", {"numpy"})
    np.testing.assert_allclose(
        json.loads(asked.replies[0].body)["predictions"], model.predict(FRAME.head(3)), rtol=1e-12
    )


def test_a_scaled_classifier_answers_with_its_classes(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, np.where(TARGET > 0, "up", "down"))
    packed = Packed(model, tmp_path)
    asked = ask(packed.plan, body(*FRAME.to_numpy().tolist()), body([float("nan"), 1.0, 1.0]))
    assert (asked.report.path, asked.libraries[1]) == ("lowered", {"numpy"})
    assert json.loads(asked.replies[0].body)["predictions"] == model.predict(FRAME).tolist()
    assert asked.replies[1].status == 400
    assert b"LogisticRegression does not accept missing values" in asked.replies[1].body


def test_a_model_that_is_not_linear_is_packed_as_before(tmp_path: Path) -> None:
    packed = Packed(PoissonRegressor().fit(FRAME, TARGET.abs()), tmp_path)
    assert not (packed.folder / "legion.linear.json").exists()
    assert packed.plan.linear is None
    assert ask(packed.plan).report.path == "native"
