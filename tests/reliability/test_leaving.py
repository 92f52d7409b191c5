"""Which requests count as executed for clients that had left."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "reliability"))

import leaving
from arrivals import LEFT, Arrival
from callers import Call
from leaving import Run


def test_a_request_must_not_begin_after_its_client_left() -> None:
    clients = [Arrival(1.0, 1.0, 1.05, LEFT, 7), Arrival(1.0, 1.0, 1.05, LEFT, 8), Arrival(1.0, 1.0, 1.3, 200, 9, True)]
    executed = [(7, 1.04), (7, 1.1), (8, 1.2), (9, 1.2), (10, 5.0)]
    assert leaving.executed_after(executed, clients) == [8]


def test_clients_that_were_refused_prove_nothing() -> None:
    patient = [Call(1.0, 1.4, 200, 2, True, 1)]
    left, refused = Arrival(1.0, 1.0, 1.05, LEFT, 7), Arrival(1.0, 1.0, 1.01, 503, 8)
    assert leaving.section([Run("merged", [], [left] * 10, patient)]).met
    assert not leaving.section([Run("merged", [], [left] * 8 + [refused] * 2, patient)]).met
