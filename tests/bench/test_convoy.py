"""The slow model that merges: the ideal that its server is held against. Whole runs are `make bench`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import convoy
import servers
from convoy import Run


def test_a_server_that_halves_its_batches_misses_the_target() -> None:
    good, half = convoy.section([Run(8, 400.0, 380.0, 7.9), Run(32, 1600.0, 800.0, 16.0)]).figures[:2]
    assert (good.ratio, good.met) == (0.95, True)
    assert (half.ratio, half.met) == (0.5, False)
    (void, _) = convoy.section([Run(8, 400.0, None, 8.0)]).figures
    assert void.met is False


def test_the_model_takes_as_long_for_many_rows_as_for_one() -> None:
    one, many = convoy._bare(1), convoy._bare(32)
    assert 0.02 <= one < 0.04
    assert many < one + 0.01


def test_batches_are_counted_by_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        b"# HELP legion_batch_requests Requests in one batch.",
        b'legion_batch_requests_bucket{model="convoy",le="8.0"} 5.0',
        b'legion_batch_requests_sum{model="convoy"} 1.2e+02',
        b'legion_batch_requests_count{model="convoy"} 30.0',
    ]
    monkeypatch.setattr(servers, "ask", lambda *_: (200, b"\n".join(lines)))
    assert convoy._counted(servers.Server("convoy", 1, 1, "/")) == (120, 30)
    monkeypatch.setattr(servers, "ask", lambda *_: (200, b"\n".join(lines[:2])))
    with pytest.raises(SystemExit, match="how large its batches are"):
        convoy._counted(servers.Server("convoy", 1, 1, "/"))
