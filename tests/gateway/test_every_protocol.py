"""One model of wine quality behind every interface, over every protocol: the same numbers and the same refusals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc", reason="grpcio is not installed: pip install 'legion-ml[grpc]'")
pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: pip install tritonclient[grpc]")
from protocol_clients import PROTOCOLS, Asked, Outcome
from wine_models import ANSWER_ALL, COLUMNS, MODELS, OBJECTS, TYPED, Wine

from conftest import Server

pytestmark = pytest.mark.slow

Ask = Callable[..., Outcome]
Rows = tuple[list[str], list[list[Any]]]

# Ways to ask in which a row is an object, so that a column cannot be there twice.
_KEYED = ("mlflow-records", "predict")


@pytest.fixture(scope="module")
def wine() -> Wine:
    """The fitted model."""
    return Wine()


@pytest.fixture(scope="module")
def folders(wine: Wine, tmp_path_factory: pytest.TempPathFactory, gppi_folder: Callable[..., Path]) -> dict[str, Path]:
    """Every interface's folder by its name."""
    return {name: build(wine, tmp_path_factory.mktemp(name), gppi_folder) for name, build in MODELS.items()}


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], folders: dict[str, Path]) -> Server:
    """All of them in one server."""
    served = [f"{name}={folder}" for name, folder in folders.items()]
    return start_server(*served, "--env", "local", "--grpc-port", "0", "--max-body", "1")


@pytest.fixture
def ask(server: Server, folders: dict[str, Path], tmp_path: Path, environment: dict[str, str]) -> Ask:
    """Ask a model by a protocol."""

    def asked(model: str, protocol: str, columns: list[str], data: list[list[Any]]) -> Outcome:
        return PROTOCOLS[protocol](Asked(server, model, folders[model], tmp_path, environment, columns, data))

    return asked


every_model = pytest.mark.parametrize("model", MODELS)
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@every_model
@every_protocol
def test_the_same_numbers(ask: Ask, wine: Wine, model: str, protocol: str) -> None:
    assert ask(model, protocol, COLUMNS, wine.data).numbers == pytest.approx(wine.answers, rel=1e-12)
    one = ask(model, protocol, COLUMNS[::-1], [wine.data[7][::-1]])
    assert one.numbers == pytest.approx(wine.answers[7:8], rel=1e-12)


def _with(value: Any) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        columns, data = rows
        data = [list(row) for row in data]
        data[1][columns.index("chlorides")] = value
        return columns, data

    return change


# What is wrong → how the rows become so, and what every protocol's sentence names.
FAULTS: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "missing": (lambda rows: (rows[0][:-1], [row[:-1] for row in rows[1]]), "alcohol"),
    "unknown": (lambda rows: ([*rows[0], "colour"], [[*row, 1.0] for row in rows[1]]), "colour"),
    "text": (_with("red"), "chlorides"),
    "not-a-number": (_with(None), "NaN|NoneType|chlorides"),
    "twice": (lambda rows: ([*rows[0], rows[0][0]], [[*row, 1.0] for row in rows[1]]), "twice"),
}


def faults() -> list[Any]:
    """Every fault by every protocol to every model, where it can be said at all."""
    found = []
    for fault in FAULTS:
        for protocol in PROTOCOLS:
            for model in MODELS:
                as_objects = model in OBJECTS and protocol in ("mlflow-split", "legion", *_KEYED)
                if fault == "not-a-number" and model in ANSWER_ALL:
                    continue
                if fault == "twice" and (protocol in _KEYED or (as_objects and protocol == "legion")):
                    continue
                found.append(pytest.param(model, protocol, fault))
    return found


@pytest.mark.parametrize(("model", "protocol", "fault"), faults())
def test_the_same_refusals_in_each_protocol_s_own_shape(
    ask: Ask, wine: Wine, model: str, protocol: str, fault: Any
) -> None:
    change, named = FAULTS[fault]
    refused = ask(model, protocol, *change((list(COLUMNS), wine.data[:3])))
    assert refused.numbers is None
    assert re.search(named, refused.sentence)
    # A type refuses what is no number itself; without one the estimator does.
    raised = fault == "not-a-number" and "chlorides" not in refused.sentence
    if protocol.startswith("mlflow"):
        assert (refused.status, refused.refusal["error_code"]) == (400, "BAD_REQUEST")
        assert set(refused.refusal) == {"error_code", "message", "stack_trace"}
    elif protocol == "legion":
        assert refused.status == (400 if raised else 422)
        assert set(refused.refusal) == ({"message"} if raised else {"message", "row", "column"})
    elif protocol == "infer-grpc":
        assert refused.status == "INVALID_ARGUMENT"
    elif protocol == "predict":
        assert refused.status == 1
        # Of a model that raises, the log shows where.
        assert raised or "Traceback" not in refused.sentence
    else:
        assert (refused.status, set(refused.refusal)) == (400, {"error"})


# A file is read in pieces: it has no limit, and one without rows has no answers, which is no fault.
every_request = pytest.mark.parametrize("protocol", [protocol for protocol in PROTOCOLS if protocol != "predict"])


@every_model
@every_request
def test_more_rows_than_a_request_may_have(ask: Ask, wine: Wine, model: str, protocol: str) -> None:
    refused = ask(model, protocol, COLUMNS, wine.data * 1500)
    assert refused.status == ("RESOURCE_EXHAUSTED" if protocol == "infer-grpc" else 413)
    if protocol != "infer-grpc":
        key = {"mlflow": "error_code", "legion": "message"}.get(protocol.partition("-")[0], "error")
        assert key in refused.refusal
        assert "fewer rows" in refused.sentence


@every_model
@every_request
def test_no_rows_are_the_model_s_to_judge(ask: Ask, model: str, protocol: str) -> None:
    outcome = ask(model, protocol, COLUMNS, [])
    if model in OBJECTS or (model in ANSWER_ALL and protocol != "mlflow-records"):
        assert outcome.numbers == []
    elif protocol == "mlflow-records":
        # Without a row there is no column either; a type is asked about rows only.
        assert ("0 sample(s)" if model in TYPED else "missing columns") in outcome.sentence
    else:
        assert "0 sample(s)" in outcome.sentence


@pytest.mark.parametrize("model", [model for model in MODELS if model in ANSWER_ALL])
@every_protocol
def test_what_is_not_a_number_is_the_model_s_to_judge(ask: Ask, wine: Wine, model: str, protocol: str) -> None:
    columns, data = _with(None)((COLUMNS, wine.data[:3]))
    numbers = ask(model, protocol, columns, data).numbers
    assert numbers is not None
    first, second, third = numbers
    assert (first, third) == pytest.approx((wine.answers[0], wine.answers[2]), rel=1e-12)
    assert math.isnan(second)


@every_model
def test_a_file_without_rows_has_no_answers(ask: Ask, model: str) -> None:
    assert ask(model, "predict", COLUMNS, []).numbers == []


def test_more_rows_than_one_request_may_have_are_predicted_from_a_file(ask: Ask, wine: Wine) -> None:
    assert ask("gppi2-matrix", "predict", COLUMNS, wine.data * 800).numbers == pytest.approx(
        wine.answers * 800, rel=1e-12
    )
