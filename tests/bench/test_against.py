"""Two revisions beside each other: the ratio of paired rounds, a revision's sources, what is below the floor."""

# pytest.approx is no number to mypy.
# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import against
import load
from against import Measure, Side
from load import Sample
from paired import FEWEST, Ratio, ratio

ROOT = Path(__file__).resolve().parents[2]


def pairs(true_ratio: float, seed: int, count: int = 40) -> list[tuple[float, float]]:
    """Rounds on a machine whose speed changes by half from round to round, and by 3 % within one."""
    chance = random.Random(seed)
    speeds = [chance.uniform(1000, 1500) for _ in range(count)]
    return [(speed * true_ratio * chance.gauss(1, 0.03), speed * chance.gauss(1, 0.03)) for speed in speeds]


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    held = sum(found.low <= 0.95 <= found.high for found in (ratio(pairs(0.95, seed)) for seed in range(200)))
    assert 180 <= held <= 198


def test_the_interval_is_narrow_enough_to_tell_a_slow_revision() -> None:
    found = ratio(pairs(0.95, 1))
    assert found.low < found.estimate < found.high < 0.98


def test_a_few_disturbed_rounds_hardly_move_the_ratio() -> None:
    good = pairs(1.0, 2)
    disturbed = [(one / 3, other) for one, other in good[:4]] + good[4:]
    assert ratio(disturbed).estimate == pytest.approx(ratio(good).estimate, abs=0.02)


def test_the_sides_can_be_swapped() -> None:
    there, back = ratio(pairs(0.9, 3)), ratio([(other, one) for one, other in pairs(0.9, 3)])
    assert (back.estimate, back.low, back.high) == pytest.approx((1 / there.estimate, 1 / there.high, 1 / there.low))


def test_too_few_rounds_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 6 pairs"):
        ratio([(1.0, 1.0)] * (FEWEST - 1))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    home = tmp_path / "repository"
    (home / "src").mkdir(parents=True)

    def git(*words: str) -> None:
        named = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *named, "-C", str(home), *words], check=True, capture_output=True)

    git("init")
    for text in ("old", "new"):
        (home / "src" / "module.py").write_text(text)
        git("add", ".")
        git("commit", "-m", text)
        git("tag", text)
    return home


def test_a_revision_is_exported_and_the_working_tree_stays(repository: Path, tmp_path: Path) -> None:
    (repository / "src" / "module.py").write_text("not committed")
    against.export("old", tmp_path / "out", repository)
    assert (tmp_path / "out" / "src" / "module.py").read_text() == "old"
    assert (repository / "src" / "module.py").read_text() == "not committed"


@pytest.mark.parametrize("revision", ["gone", "--remote=elsewhere"])
def test_a_revision_that_is_not_there_ends_the_run(repository: Path, tmp_path: Path, revision: str) -> None:
    with pytest.raises(SystemExit, match=f"{revision} cannot be compared with"):
        against.export(revision, tmp_path / "out", repository)
    assert not (tmp_path / "out").exists()


def test_a_side_that_would_run_other_code_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "WORK", tmp_path)
    against._check_sources(Side("this", ROOT / "src", tmp_path))
    with pytest.raises(SystemExit, match="old would run"):
        against._check_sources(Side("old", tmp_path / "src", tmp_path))


def test_latency_is_turned_so_that_more_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    this, other = Sample(2000, 1_000_000, 250, 0), Sample(1000, 1_000_000, 500, 0)
    monkeypatch.setattr(load, "once", lambda *_: this)
    monkeypatch.setattr(load, "samples", lambda *_, **__: {"this": [this] * 6, "old": [other] * 6})
    found = against._measured({}, 1, 6)
    assert [(one.what, one.ratio.estimate) for one in found] == [
        ("1 connection, rate", pytest.approx(2)),
        ("1 connection, p50", pytest.approx(2)),
    ]


def test_an_answer_but_2xx_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = Sample(2000, 1_000_000, 250, 0), Sample(2000, 1_000_000, 250, 1)
    monkeypatch.setattr(load, "samples", lambda *_, **__: {"this": [good] * 6, "old": [good] * 5 + [bad]})
    with pytest.raises(SystemExit, match="old did not answer every request"):
        against._measured({}, 32, 6)


@pytest.mark.parametrize(("floor", "code"), [(0.98, 0), (0.99, 1)])
def test_the_run_ends_with_1_below_the_floor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], floor: float, code: int
) -> None:
    found = [Measure("1 connection, rate", Ratio(1.01, 1.0, 1.02)), Measure("p50", Ratio(0.985, 0.97, 1.0))]
    monkeypatch.setattr(sys, "argv", ["against.py", "old", "--floor", str(floor)])
    monkeypatch.setattr(against, "export", lambda *_: None)
    monkeypatch.setattr(against, "compare", lambda *_: found)
    monkeypatch.setattr(load, "wrk", lambda: "wrk")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert against.main() == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("1.010  95 % interval 1.000 to 1.020")
    assert lines[2].endswith("BELOW") is (code == 1)
