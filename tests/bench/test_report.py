"""Figures, what is said of them, and ratios that fell. Whole runs are `make bench`."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import baseline
import load
import report
from figures import Figure, Section, over

BENCH = Path(report.__file__).parent
HERE = {"CPU": "One", "cores": "2"}


def figure(ratio: float | None, target: float | None = 10, key: str = "wine") -> Figure:
    values = {"mlflow": 180.0, "Legion": None if ratio is None else 180.0 * ratio}
    return Figure(key, "32 connections", "req/s", values, ratio, target, "Legion / mlflow")


def section(*figures: Figure) -> Section:
    return Section("Wine", ("mlflow", "Legion"), figures, ("A note.",))


@pytest.mark.parametrize(
    ("ratio", "target", "met"), [(10, 10, True), (9.99, 10, False), (None, 10, False), (3, None, None)]
)
def test_a_target_is_met_only_by_a_ratio_that_reaches_it(
    ratio: float | None, target: int | None, met: bool | None
) -> None:
    assert figure(ratio, target).met is met


def test_nothing_is_divided_by_what_is_void() -> None:
    assert over(None, 2.0) is None
    assert over(2.0, None) is None
    assert over(2.0, 0.0) is None
    assert over(3.0, 2.0) == 1.5


def test_a_table_shows_values_ratio_and_what_is_missed() -> None:
    lines = report.text(section(figure(161.4, 100), figure(0.5, 100, "other"))).splitlines()
    assert lines[0] == "Wine"
    assert lines[1].split() == ["mlflow", "Legion", "ratio", "target", "met"]
    assert lines[2].split()[-8:] == ["180", "req/s", "29,052", "req/s", "161", "≥", "100", "yes"]
    assert lines[3].endswith("NO")
    assert lines[4].strip() == "A note."
    assert len({len(line) for line in lines[1:4]}) == 1


def test_a_void_figure_says_so_and_misses_its_target() -> None:
    row = report.text(section(figure(None, 100))).splitlines()[2]
    assert row.count("void") == 2
    assert row.endswith("NO")
    assert report.verdict([section(figure(None, 100, "gone"), figure(200, 100))]) == (
        "1 of 2 targets are met; missed: gone"
    )


def test_the_page_holds_tables_machine_and_day() -> None:
    page = report.markdown([section(figure(161.4, 100))], {"CPU": "A|B"}, datetime.date(2026, 1, 2))
    assert "| 32 connections (Legion / mlflow) | 180 req/s | 29,052 req/s | 161 | ≥ 100 | yes |" in page
    assert "| CPU | A\\|B |" in page
    assert "2026-01-02" in page


def test_a_ratio_that_fell_is_flagged_and_one_that_held_is_not(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert baseline.falls(baseline.read(path), [figure(1)]) == []
    baseline.accept(path, [figure(100, key="fell"), figure(100, key="held"), figure(100, key="void")], HERE)
    now = [figure(84.9, key="fell"), figure(85.1, key="held"), figure(None, key="void"), figure(1, key="new")]
    found = baseline.falls(baseline.read(path), now)
    assert [(fall.key, fall.now) for fall in found] == [("fell", 84.9), ("void", None)]
    said = report.fell(found, HERE, {"CPU": "Two", "cores": "2"})
    assert "fell: 84.9, accepted 100" in said
    assert "void: void, accepted 100" in said
    assert "another machine (CPU One)" in said
    assert "another machine" not in report.fell(found, HERE, HERE)


def test_accepting_a_part_keeps_the_other_ratios(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baseline.accept(path, [figure(100, key="wine"), figure(3, key="pack")], HERE)
    baseline.accept(path, [figure(120, key="wine"), figure(None, key="pack")], HERE)
    accepted = baseline.read(path)
    assert accepted is not None
    assert accepted.ratios == {"wine": 120, "pack": 3}


def test_one_failed_request_voids_a_figure() -> None:
    good = load.parse('noise\n{"requests":3000,"microseconds":3000000,"p50":250,"failed":0}\n')
    assert load.median([good, good]) == load.Rate(1000.0, 0.25)
    bad = load.Sample(3000, 3_000_000, 250, 1)
    assert load.median([good, bad]) == load.Rate(None, None, 1)
    assert load.median([load.Sample(0, 3_000_000, 0, 0)]).per_second is None


def test_without_the_load_generator_the_run_says_how_to_get_it(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "run.py"), "--only", "wine", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"the load generator wrk is not installed; run {load.INSTALL}"


def test_a_quick_run_is_not_kept() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "run.py"), "--quick", "--accept"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "leave out --quick" in done.stderr
