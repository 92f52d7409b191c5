"""Both servers' answers to every case: MLflow's own scoring server, and Legion's worker."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest
from request_cases import all_cases
from scoring_case import JSON, Case
from scoring_client import Answer, Client
from scoring_models import build_all

from legion import wire
from legion.artifact.mlmodel import read_mlmodel
from legion.worker import proof
from legion.worker.batch import Answerer


@pytest.fixture(scope="session")
def scoring_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name → folder of every model."""
    return build_all(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    """Every request."""
    return all_cases()


@pytest.fixture(scope="session")
def mlflow_answers(
    scoring_models: dict[str, Path], cases: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Answer]:
    """Case → what MLflow's server answered, a real process on a real socket."""
    log = tmp_path_factory.mktemp("reference") / "log.txt"
    answers: dict[str, Answer] = {}
    # MLflow's server was seen to end by itself, at no case in particular; one that ends again at the same is a fault.
    ended_at = None
    while len(answers) < len(cases):
        left = [case for case in cases if case.name not in answers]
        with reference_server(scoring_models, log) as client:
            for case in left:
                try:
                    answers[case.name] = client.post(f"/{case.model}/invocations", case)
                except (OSError, HTTPException):
                    assert ended_at != case.name, f"MLflow's server ends at {case.name}:\n{log.read_text()[-2000:]}"
                    ended_at = case.name
                    break
    return answers


@contextmanager
def reference_server(models: dict[str, Path], log: Path) -> Iterator[Client]:
    """MLflow's server with these models, until the block ends."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        script = Path(__file__).parent / "reference_server.py"
        with log.open("a") as out:
            process = subprocess.Popen(
                [sys.executable, str(script), str(sock.fileno()), *map(str, models.values())],
                pass_fds=[sock.fileno()],
                stdout=subprocess.PIPE,
                stderr=out,
            )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listening\n"
            with closing(Client(*sock.getsockname())) as client:
                # It is the server's own now: should that end, callers are refused and do not wait.
                sock.close()
                yield client
        finally:
            if process.poll() is not None:
                logging.getLogger("tests").warning("MLflow's server ended by itself with %d", process.returncode)
            process.kill()
            process.communicate()


def worker_answers(folders: dict[str, Path], cases: Iterable[Case]) -> dict[str, Answer]:
    """Case → what a worker answers, without the process around it: there are a hundred models."""
    answerers: dict[str, Answerer] = {}
    answers = {}
    for case in cases:
        if case.model not in answerers:
            folder = folders[case.model]
            mlmodel = read_mlmodel(folder)
            plan = wire.Plan("probe", "1", str(folder), "pyfunc", signature=mlmodel.signature, flavors=mlmodel.flavors)
            answerers[case.model] = Answerer(proof.prove(plan).model, merges=False)
        content_type = None if case.content_type == JSON else case.content_type
        reply = answerers[case.model].answer([wire.Call(wire.MLFLOW, case.body, content_type)])[0]
        answers[case.name] = Answer(reply.status, bytes(reply.body))
    return answers


@pytest.fixture(scope="session")
def legion_answers(scoring_models: dict[str, Path], cases: list[Case]) -> dict[str, Answer]:
    """Case → what Legion's worker answered."""
    logging.getLogger("legion.worker").setLevel(logging.CRITICAL)
    folder = Path.cwd()
    path = list(sys.path)
    try:
        with warnings.catch_warnings():
            # As in a worker: what a model is warned of changes no answer.
            warnings.simplefilter("ignore")
            return worker_answers(scoring_models, cases)
    finally:
        os.chdir(folder)
        sys.path[:] = path
        logging.getLogger("legion.worker").setLevel(logging.NOTSET)
