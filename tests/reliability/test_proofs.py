"""The proofs of `make reliability` in their short form, on real parts; each demand of theirs is a demand here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "reliability"))

import budget
import kills
import leaving
import lies
import outages
import page
import provisioning
import silence
import swaps
from demands import Failed, Section
from scale import QUICK, Scale

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader"),
]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client here waits as briefly for a server that is away as the gateway's does."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    pytest.importorskip("psycopg2")
    pytest.importorskip("boto3")


# Registrations and broken versions have tests of their own: tests/registry/test_registering_at_once.py,
# tests/gateway/test_follow.py. Goodput depends on what else the machine does, and is left to `make reliability`.
PROOFS = {
    "swaps": swaps.prove,
    "outages": outages.prove_short,
    "kills": kills.prove,
    "leaving": leaving.prove,
    "silence": silence.prove,
    "memory": budget.prove,
    "lies": lies.prove,
    "provisioner": provisioning.prove,
}


@pytest.mark.parametrize("prove", PROOFS.values(), ids=PROOFS)
def test_every_demand_is_met(prove: Callable[[Scale], Section]) -> None:
    try:
        section = prove(QUICK)
    except Failed as failure:
        pytest.fail(str(failure))
    assert section.met, page.text(section)
