"""What is compared with whom: bodies, answers, limits, and what is left out. Whole runs are `make bench`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import interfaces
import mlserver
import open_inference
import servers
from load import Rate
from online import latency, throughput
from pace import QUICK

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.mark.parametrize(
    ("base", "measured", "met"), [(0.2, 0.4, True), (0.2, 0.401, False), (0.2, 0.1, True), (None, 0.1, None)]
)
def test_a_limit_on_what_is_added_is_met_by_less_than_nothing_too(
    base: float | None, measured: float, met: bool | None
) -> None:
    ratio = interfaces.within(base, measured, 0.2)
    assert (None if ratio is None else ratio >= 1) is met


def test_what_java_adds_is_held_against_the_limit() -> None:
    (met,) = interfaces._java_section({"GPPI": 0.3, "GJPI": 0.4}).figures
    (missed,) = interfaces._java_section({"GPPI": 0.3, "GJPI": 0.6}).figures
    assert (met.met, missed.met) == (True, False)


def test_ratios_say_which_servers_they_are_of() -> None:
    rates = {"MLServer": Rate(1500.0, 0.8), "Legion": Rate(30000.0, 0.2)}
    rate = throughput("rate", "32 connections", rates, 10, other="MLServer")
    p50 = latency("p50", "1 connection", rates, 1, other="MLServer")
    assert (rate.ratio, rate.means) == (20, "Legion / MLServer")
    assert p50.ratio == pytest.approx(4)
    assert p50.means == "MLServer / Legion"


def test_a_row_goes_as_one_tensor_of_all_columns(tmp_path: Path) -> None:
    one = tmp_path / "one.json"
    one.write_text(json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5]]}}))
    (tensor,) = json.loads(open_inference._request(one, tmp_path / "tensor.json").read_bytes())["inputs"]
    assert (tensor["shape"], tensor["datatype"], tensor["data"]) == ([1, 2], "FP64", [1.0, 2.5])


def test_a_row_goes_as_one_object(tmp_path: Path) -> None:
    one = tmp_path / "one.json"
    one.write_text(json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5]]}}))
    records = json.loads(interfaces._records(one, tmp_path / "records.json").read_bytes())
    assert records == {"dataframe_records": [{"a": 1, "b": 2.5}]}


def test_tensors_are_alike_by_their_values_whatever_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        1: {"id": "x", "model_name": "wine", "outputs": [{"name": "predict", "shape": [1, 1], "data": [5.5]}]},
        2: {"model_name": "wine", "outputs": [{"name": "quality", "shape": [1], "data": [5.5 + 1e-12]}]},
        3: {"model_name": "wine", "outputs": [{"name": "quality", "shape": [1], "data": [5.6]}]},
    }
    monkeypatch.setattr(servers, "ask", lambda port, *rest: (200, json.dumps(said[port]).encode()))
    body = Path(__file__)
    first, near, far = (servers.Server(f"server {port}", port, 0, "/infer") for port in said)
    servers.check_alike([first, near], body, open_inference.tensor)
    with pytest.raises(SystemExit, match="server 1 and server 3 give different predictions"):
        servers.check_alike([first, far], body, open_inference.tensor)


def test_mlserver_computes_with_the_same_scikit_learn() -> None:
    pinned = re.compile(r"^(?:scikit-learn|numpy)==.*$", re.MULTILINE)
    assert sorted(pinned.findall(mlserver.LOCK.read_text())) == sorted(pinned.findall(LOCK))
    assert mlserver.version() in (ROOT / "bench" / "peers" / "mlserver.in").read_text()


def test_without_a_jdk_the_part_is_left_out_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interfaces.java(QUICK) == []
    assert "there is no JDK" in capsys.readouterr().out
