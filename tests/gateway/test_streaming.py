"""Answers in pieces, end to end: as MLflow's own agent server gives them, beside predictions, and however they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests

from conftest import Server, free_port, wait_until
from legion.client import Client, GatewayError
from legion.errors import InputError
from legion.wire import STREAMS_AT_ONCE

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "streamed"
SAVE = """
import sys
import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
words, agent, folder = sys.argv[1:]
numbers = [ColSpec("double", name, required=False) for name in ("before", "pause", "fail", "size")]
inputs = Schema([ColSpec("long", "n"), *numbers, ColSpec("string", "mark", required=False)])
signature = ModelSignature(inputs=inputs, outputs=Schema([ColSpec("long")]))
mlflow.pyfunc.save_model(folder + "/words", python_model=words, signature=signature, pip_requirements=["mlflow"])
mlflow.pyfunc.save_model(folder + "/agent", python_model=agent, pip_requirements=["mlflow"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Two models that stream, saved by plain MLflow."""
    folder = tmp_path_factory.mktemp("streamed")
    command: list[str | Path] = [sys.executable, "-c", SAVE, HERE / "words.py", HERE / "agent.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], folder: Path) -> Server:
    """Both of them in one server."""
    return start_server(folder / "words", folder / "agent", "--env", "local")


@pytest.fixture
def words(start_server: Callable[..., Server], folder: Path) -> Callable[..., Server]:
    """A server of its own, for what ends it."""
    return lambda *options: start_server(f"words={folder / 'words'}", "--env", "local", *options)


def ask(server: Server, model: str = "words", *, body: dict[str, Any] | None = None, **row: Any) -> requests.Response:
    """Ask for a stream, and read it later."""
    body = body or {"dataframe_records": [row]}
    return server.post(f"/models/{model}/invocations", {**body, "stream": True}, stream=True)


def events(answer: requests.Response) -> Iterator[Any]:
    """What each event says, as it comes."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    for line in answer.iter_lines(chunk_size=None):  # type: ignore[call-overload]
        if line:
            name, _, said = line.partition(b": ")
            assert name == b"data"
            yield "DONE" if said == b"[DONE]" else json.loads(said)


def numbers(answer: requests.Response) -> list[Any]:
    """The words' numbers; other events as they are."""
    return [event["word"] if isinstance(event, dict) and "word" in event else event for event in events(answer)]


def test_it_is_what_mlflows_own_agent_server_answers(
    server: Server, tmp_path: Path, environment: dict[str, str]
) -> None:
    port = free_port()
    command = [sys.executable, str(HERE / "agent_server.py"), str(port)]
    url = f"http://127.0.0.1:{port}"
    requested = [{"input": [{"role": "user", "content": text}]} for text in ("hello", "no!no", "ü")]
    # Its traces go to a store, and the local default is a file beside it.
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(url + "/health"), 60)
        for body in requested:
            theirs = requests.post(url + "/invocations", json={**body, "stream": True}, timeout=60)
            ours = ask(server, "agent", body=body)
            expected = [event for event in _data(theirs.text) if event != "[DONE]"]
            found = [event for event in _data(ours.text) if event != "[DONE]"]
            assert [_named(event) for event in found] == [_named(event) for event in expected]
            assert len(found) > 1 or body is requested[2]
            assert _data(theirs.text)[-1] == _data(ours.text)[-1] == "[DONE]"
            assert theirs.headers["content-type"] == ours.headers["content-type"]
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def _data(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


def _named(event: str) -> object:
    """An event; an error's sentence is each server's own, and holds what the model said."""
    said = json.loads(event)
    return {"error": "no shouting" in said["error"]} if "error" in said else said


def test_without_stream_an_agent_answers_as_ever(server: Server) -> None:
    body = {"input": [{"role": "user", "content": "hello"}]}
    for asked in (body, {**body, "stream": False}):
        answer = server.post("/models/agent/invocations", asked)
        assert answer.json()["output"][0]["content"][0]["text"] == "HELLO"


def test_a_piece_comes_when_it_is_made(server: Server, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with closing(ask(server, n=3, pause=600, mark=str(mark))) as answer:
        assert next(events(answer))["word"] == 0
        assert mark.read_bytes() == b"(."


def test_predictions_and_other_streams_go_on_beside_it(server: Server) -> None:
    with closing(ask(server, n=2, pause=600)) as answer:
        assert next(events(answer))["word"] == 0
        assert numbers(ask(server, n=3)) == [0, 1, 2, "DONE"]
        plain = server.post("/models/words/invocations", {"dataframe_records": [{"n": 5}, {"n": 6}]})
        assert plain.json() == {"predictions": [5, 6]}


def test_the_client_gives_the_pieces_one_after_another(server: Server, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with Client(server.url) as client:
        conversation = {"input": [{"role": "user", "content": "hi"}]}
        assert [piece.get("delta") for piece in client.stream(conversation, "agent")] == ["H", "I", None]
        assert client.predict(conversation, "agent")["output"][0]["content"][0]["text"] == "HI"
        with closing(client.stream([{"n": 10**9, "pause": 0.01, "mark": str(mark)}], "words")) as pieces:
            assert [next(pieces)["word"], next(pieces)["word"]] == [0, 1]
        wait_until(lambda: mark.read_bytes().endswith(b"x"))
        with pytest.raises(InputError, match="no more words"):
            next(client.stream([{"n": 1, "fail": 0}], "words"))
        broken = client.stream([[2, 1]], "words", columns=["n", "fail"])
        assert next(broken)["word"] == 0
        with pytest.raises(GatewayError, match="broke off: the model raised ValueError: no more words"):
            next(broken)


def test_the_document_says_so(server: Server) -> None:
    document = requests.get(server.url + "/openapi.json", timeout=20).json()
    operations = {model: document["paths"][f"/models/{model}/invocations"]["post"] for model in ("words", "agent")}
    for operation in operations.values():
        assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    body = operations["agent"]["requestBody"]["content"]["application/json"]
    assert {"input", "stream"} <= set(body["schema"]["properties"])
    assert body["schema"]["required"] == ["input"]
    answer = server.post("/models/agent/invocations", body["example"]).json()
    schema = operations["agent"]["responses"]["200"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})
    validator.validate(answer)
    assert not validator.is_valid({"predictions": [answer]})


def test_every_form_of_one_row_is_read(server: Server) -> None:
    split = {"dataframe_split": {"columns": ["n"], "data": [[2]]}}
    for body in (split, {"dataframe_records": [{"n": 2}]}, {"instances": [{"n": 2}]}, {"inputs": {"n": [2]}}):
        assert numbers(ask(server, body=body)) == [0, 1, "DONE"]


@pytest.mark.parametrize(
    ("records", "words"),
    [([{"m": 1}], "missing inputs ['n']"), ([{"n": "x"}], "n"), ([{"n": 1}, {"n": 2}], "single input")],
)
def test_a_request_that_is_refused_gets_a_status_and_no_event(server: Server, records: Any, words: str) -> None:
    answer = ask(server, body={"dataframe_records": records})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert words in answer.json()["message"]
    assert "Traceback" not in answer.text


def test_a_model_that_fails_on_the_way_says_so_in_the_last_event(server: Server) -> None:
    assert ask(server, n=2, fail=0).status_code == 400
    assert numbers(ask(server, n=5, fail=2)) == [
        0,
        1,
        {"error": "the model raised ValueError: no more words"},
        "DONE",
    ]


def test_a_caller_who_leaves_ends_the_generator(server: Server, tmp_path: Path) -> None:
    for before in (0, 0.5):
        mark = tmp_path / f"mark{before}"
        body = {"dataframe_records": [{"n": 10**9, "before": before, "pause": 0.01, "mark": str(mark)}], "stream": True}
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(_request(body))
            wait_until(mark.is_file)
            if not before:
                assert b"text/event-stream" in sock.recv(300)
        wait_until(partial(_closed, mark))


def _closed(mark: Path) -> bool:
    return mark.read_bytes().endswith(b"x")


def _request(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST /models/words/invocations HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n"
    return f"{head}content-type: application/json\r\n\r\n".encode() + content


def test_a_caller_who_reads_slowly_holds_the_generator_up(server: Server, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    body = {"dataframe_records": [{"n": 5_000, "size": 100_000, "mark": str(mark)}], "stream": True}
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(_request(body))
        wait_until(mark.is_file)
        made = -1
        while made != (made := mark.stat().st_size):
            time.sleep(0.5)
        # 16 ahead, and what both ends' sockets hold.
        assert 16 <= made < 200
        taken = 0
        while taken < 5_000 * 100_000:
            taken += len(sock.recv(1 << 20))
    wait_until(lambda: mark.read_bytes().endswith(b"x"))
    assert mark.read_bytes().count(b".") == 5_000


def test_many_at_once_each_get_their_own_and_no_more_than_are_allowed(words: Callable[..., Server]) -> None:
    server = words()
    held = [ask(server, n=2, pause=600) for _ in range(STREAMS_AT_ONCE)]
    readers = [events(answer) for answer in held]
    assert all(next(reader)["word"] == 0 for reader in readers)
    refused = ask(server, n=2)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error_code"] == "RESOURCE_EXHAUSTED"
    for answer in held:
        answer.close()


def test_a_worker_that_ends_is_told_in_the_last_event_and_before_the_first_tried_again(
    words: Callable[..., Server], tmp_path: Path
) -> None:
    server = words()
    (worker,) = server.workers()
    mark = tmp_path / "mark"
    later: list[Any] = []
    with closing(ask(server, n=2, pause=600)) as answer:
        reader = events(answer)
        assert next(reader)["word"] == 0
        caller = threading.Thread(target=lambda: later.extend(numbers(ask(server, n=2, before=600, mark=str(mark)))))
        caller.start()
        wait_until(mark.is_file)
        os.kill(worker, signal.SIGKILL)
        assert list(reader) == [{"error": "the model's process ended while answering this request"}, "DONE"]
    caller.join(60)
    assert later == [0, 1, "DONE"]
    assert mark.read_bytes() == b"((..x"


def test_a_stream_that_says_nothing_past_the_deadline_is_ended(words: Callable[..., Server], tmp_path: Path) -> None:
    server = words("--timeout", "1")
    (worker,) = server.workers()
    answer = ask(server, n=1, before=600)
    assert (answer.status_code, answer.json()["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert numbers(ask(server, n=2, pause=600)) == [0, {"error": "the model did not answer within 1 s"}, "DONE"]
    # It counts from piece to piece, however long the whole takes.
    assert numbers(ask(server, n=4, pause=0.7)) == [0, 1, 2, 3, "DONE"]
    assert server.workers() == [worker]
    # Nor is a caller waited for who takes nothing.
    mark = tmp_path / "mark"
    body = {"dataframe_records": [{"n": 5_000, "size": 100_000, "mark": str(mark)}], "stream": True}
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(_request(body))
        wait_until(lambda: mark.is_file() and mark.read_bytes().endswith(b"x"))
        while sock.recv(1 << 20):
            pass
    assert "Traceback" not in server.log.read_text()
    # Where too many of them never end, the worker goes.
    for _ in range(STREAMS_AT_ONCE // 2):
        threading.Thread(target=ask, args=(server,), kwargs={"n": 1, "before": 600}, daemon=True).start()
    wait_until(lambda: server.workers() not in ([worker], []), 40)
    wait_until(lambda: _answers(server.url + "/ping"), 40)
    assert numbers(ask(server, n=2)) == [0, 1, "DONE"]


def test_sigterm_lets_a_stream_come_to_its_end(words: Callable[..., Server]) -> None:
    server = words()
    answer = ask(server, n=8, pause=0.25)
    reader = events(answer)
    assert next(reader)["word"] == 0
    server.process.send_signal(signal.SIGTERM)
    assert [event if event == "DONE" else event["word"] for event in reader] == [1, 2, 3, 4, 5, 6, 7, "DONE"]
    assert server.process.wait(20) == 0
