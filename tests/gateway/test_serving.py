"""A served model as its callers see it: real process, real socket."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import struct
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from conftest import Server

# Answers the sum of each row; some rows make it misbehave.
PROBE = """
    import os, sys, time

    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        out = []
        for row in input_matrix.tolist():
            a, b = row
            if b == -1: raise ValueError(f"cannot take {a}")
            if b == -2: os._exit(3)
            if b == -3: time.sleep(3600)
            if b == -4: sys.exit("please")
            if b == -5: time.sleep(0.4)
            if b == -6: print("a model's own words")
            if b == -7: a = float("nan")
            out.append([a + b])
        return out, ["sum"]

    def get_info():
        number = lambda name, example: {"name": name, "type": "number", "example": example, "required": True}
        return [number("a", 1.5), number("b", 2.0)], [number("sum", 3.5)]
"""
GOLDEN = [
    {
        "request": {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0], [3.0, 5.0]]}},
        "response": {"predictions": [{"sum": 3.0}, {"sum": 8.0}]},
    }
]


def rows(*data: Sequence[Any]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a", "b"], "data": [list(row) for row in data]}}


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> Server:
    folder = gppi_folder(PROBE, golden=GOLDEN)
    return start_server(folder, "--env", "local", "--max-body", "1", "--queue", "64", "--timeout", "2")


def test_answers_both_protocols(server: Server) -> None:
    answer = server.post("/invocations", rows((1, 2), (3, 4)))
    assert (answer.status_code, answer.json()) == (200, {"predictions": [{"sum": 3.0}, {"sum": 7.0}]})
    answer = server.post("/api/model/invoke", {"columns": ["b", "a"], "data": [[2, 1]]})
    assert answer.json() == {"prediction": [[3.0]], "columns": ["sum"]}
    assert server.post("/models/probe/invocations", rows((1, 2))).json() == {"predictions": [{"sum": 3.0}]}


def test_headers_of_an_answer(server: Server) -> None:
    answer = server.post("/invocations", rows((1, 2)))
    assert answer.headers["Model-Name"] == "probe"
    assert answer.headers["Model-Version"] == "1.0.0-test"
    parts = [part.split(";dur=")[0].strip() for part in answer.headers["Server-Timing"].split(",")]
    assert parts == ["queue", "decode", "predict", "encode"]
    other = server.post("/invocations", rows((1, 2)))
    assert answer.headers["X-Request-Id"] != other.headers["X-Request-Id"]
    kept = server.post("/invocations", rows((1, 2)), headers={"X-Request-Id": "mine-7"})
    assert kept.headers["X-Request-Id"] == "mine-7"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not json", ["not valid JSON"]),
        (b"{}", ["exactly one of"]),
        (b"[" * 250_000, ["nested too deeply"]),
        (b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, ' + b"9" * 5000 + b"]]}}", ["not valid JSON"]),
        (json.dumps(rows((1, "x"))).encode(), ["row 0", "'b'", "expected a number", "'x'"]),
        (json.dumps({"dataframe_split": {"columns": ["a"], "data": [[1]]}}).encode(), ["missing columns: 'b'"]),
        (json.dumps({"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2, 3]]}}).encode(), ["'c'"]),
        (json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1]]}}).encode(), ["row 1"]),
        (b"\xff\xfe{}", ["not valid JSON"]),
    ],
)
def test_a_bad_body_is_refused_with_the_reason(server: Server, body: bytes, words: list[str]) -> None:
    answer = server.post("/invocations", body)
    assert answer.status_code == 400
    assert set(answer.json()) >= {"error_code", "message", "stack_trace"}
    for word in words:
        assert word in answer.json()["message"]
    assert server.post("/invocations", rows((1, 2))).json() == {"predictions": [{"sum": 3.0}]}


def test_legion_rest_says_what_does_not_fit(server: Server) -> None:
    answer = server.post("/api/model/invoke", {"columns": ["a", "b"], "data": [[1, 2], [1, None], [1, "x"]]})
    assert (answer.status_code, answer.json()["row"], answer.json()["column"]) == (422, 2, "b")
    assert server.post("/api/model/invoke", b"nonsense").status_code == 400


def test_a_raising_model_fails_its_own_request_only(server: Server) -> None:
    with ThreadPoolExecutor(16) as callers:
        bodies = [rows((i, -1 if i % 5 == 0 else 1)) for i in range(100)]
        answers = list(callers.map(lambda body: server.post("/invocations", body), bodies))
    for i, answer in enumerate(answers):
        if i % 5 == 0:
            assert answer.status_code == 400
            assert f"cannot take {float(i)}" in answer.json()["message"]
        else:
            assert answer.json() == {"predictions": [{"sum": i + 1.0}]}


def test_no_path_of_this_machine_in_a_refusal(server: Server) -> None:
    answer = server.post("/invocations", rows((1, -1)))
    assert "Traceback" not in answer.text
    assert "/" not in answer.json()["stack_trace"]


def test_exit_and_words_of_a_model_do_no_harm(server: Server) -> None:
    assert server.post("/invocations", rows((1, -4))).status_code == 400
    assert server.post("/invocations", rows((1, -6))).json() == {"predictions": [{"sum": -5.0}]}
    assert server.post("/invocations", rows((1, -7))).json() == {"predictions": [{"sum": None}]}


def test_a_body_over_the_limit(server: Server) -> None:
    big = json.dumps(rows(*[(1.5, 2.5)] * 120_000)).encode()
    assert server.post("/invocations", big).status_code == 413
    # Without a length in front: chunks.
    answer = requests.post(
        server.url + "/invocations",
        data=(big[i : i + 65536] for i in range(0, len(big), 65536)),
        headers={"content-type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 413
    assert server.post("/invocations", rows((1, 2))).status_code == 200


def test_a_chunked_body_is_read(server: Server) -> None:
    body = json.dumps(rows((1, 2))).encode()
    answer = requests.post(server.url + "/invocations", data=iter([body[:20], body[20:]]), timeout=30)
    assert answer.json() == {"predictions": [{"sum": 3.0}]}


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_read(server: Server, compress: Any) -> None:
    body = json.dumps(rows((1, 2))).encode()
    headers = {"content-encoding": "gzip" if compress is gzip.compress else "deflate"}
    assert server.post("/invocations", compress(body), headers=headers).json() == {"predictions": [{"sum": 3.0}]}
    halves = gzip.compress(body[:9]) + gzip.compress(body[9:])
    assert server.post("/invocations", halves, headers={"content-encoding": "gzip"}).status_code == 200
    assert server.post("/invocations", compress(body)[:-9], headers=headers).status_code == 400
    assert server.post("/invocations", body, headers=headers).status_code == 400
    assert server.post("/invocations", body, headers={"content-encoding": "br"}).status_code == 415


def test_a_bomb_is_refused_while_it_is_inflated(server: Server) -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024))
    assert len(bomb) < 1024 * 1024
    memory = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    assert server.post("/invocations", bomb, headers={"content-encoding": "gzip"}).status_code == 413
    after = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    assert (int(after) - int(memory)) * 4096 < 16 * 1024 * 1024
    assert server.post("/invocations", rows((1, 2))).status_code == 200


def test_content_types(server: Server) -> None:
    assert server.post("/invocations", b"a,b\n1,2\n", headers={"content-type": "text/csv"}).json() == {
        "predictions": [{"sum": 3.0}]
    }
    assert server.post("/invocations", b"a=1", headers={"content-type": "image/png"}).status_code == 415
    typed = {"content-type": "application/json; charset=utf-8"}
    assert server.post("/invocations", rows((1, 2)), headers=typed).status_code == 200


def test_two_lengths_are_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}")
        assert b" 400 " in sock.recv(4096).split(b"\r\n")[0]


def test_a_hanging_worker_is_replaced(server: Server) -> None:
    before = server.workers()
    answer = server.post("/invocations", rows((1, -3)))
    assert answer.status_code == 504
    assert server.post("/invocations", rows((1, 2))).json() == {"predictions": [{"sum": 3.0}]}
    assert server.workers() != before


def test_a_crashed_worker_is_started_again_and_only_the_culprit_fails(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(PROBE, golden=GOLDEN), "--env", "local")
    before = server.workers()
    with ThreadPoolExecutor(8) as callers:
        bodies = [rows((i, -2 if i == 3 else 1)) for i in range(8)]
        answers = list(callers.map(lambda body: server.post("/invocations", body), bodies))
    assert [answer.status_code for answer in answers] == [503 if i == 3 else 200 for i in range(8)]
    assert answers[3].headers["Retry-After"] == "1"
    assert [answer.json() for i, answer in enumerate(answers) if i != 3] == [
        {"predictions": [{"sum": i + 1.0}]} for i in range(8) if i != 3
    ]
    assert server.workers() != before


def test_a_full_queue_says_when_to_come_back(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(PROBE), "--env", "local", "--queue", "2", "--timeout", "30")
    with ThreadPoolExecutor(12) as callers:
        answers = list(callers.map(lambda _: server.post("/invocations", rows((1, -5))), range(12)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert all(answer.status_code in (200, 429) for answer in answers)


def test_callers_who_leave_while_waiting_are_never_executed(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    counting = PROBE.replace("out = []", 'out = []; print("executed", input_matrix.tolist(), file=sys.stderr)')
    server = start_server(gppi_folder(counting), "--env", "local", "--timeout", "30")
    busy = threading.Thread(target=server.post, args=("/invocations", rows((1, -5))))
    busy.start()
    while "executed [[1.0, -5.0]]" not in server.log.read_text():
        pass
    body = json.dumps(rows((77, 1))).encode()
    leaver = http.client.HTTPConnection("127.0.0.1", server.port)
    leaver.request("POST", "/invocations", body)
    leaver.close()
    busy.join()
    assert server.post("/invocations", rows((1, 2))).status_code == 200
    assert "77.0" not in server.log.read_text()


def test_control_routes(server: Server) -> None:
    assert requests.get(server.url + "/ping", timeout=10).status_code == 200
    assert requests.get(server.url + "/health", timeout=10).status_code == 200
    assert requests.get(server.url + "/healthcheck", timeout=10).json() == {"status": True}
    assert requests.get(server.url + "/models/probe/ping", timeout=10).status_code == 200
    missing = requests.post(server.url + "/models/other/invocations", data=b"{}", timeout=10)
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "probe" in missing.json()["message"]
    wrong = requests.get(server.url + "/invocations", timeout=10)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


def test_the_document_is_typed_and_its_example_works(server: Server) -> None:
    document = requests.get(server.url + "/openapi.json", timeout=10).json()
    assert document["openapi"] == "3.1.0"
    content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    split = next(form for form in content["schema"]["oneOf"] if form["required"] == ["dataframe_split"])
    columns = split["properties"]["dataframe_split"]["properties"]["columns"]
    assert columns["items"]["enum"] == ["a", "b"]
    assert server.post("/invocations", content["example"]).status_code == 200
    rest = document["paths"]["/api/model/invoke"]["post"]["requestBody"]["content"]["application/json"]
    assert server.post("/api/model/invoke", rest["example"]).status_code == 200
    info = requests.get(server.url + "/api/model/info", timeout=10).json()
    assert "/invocations" in info["paths"]


def test_the_docs_page_needs_no_other_host(server: Server) -> None:
    page = requests.get(server.url + "/docs", timeout=10)
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"):
        assert requests.get(f"{server.url}/docs/assets/{asset}", timeout=10).status_code == 200


def test_metrics_count_what_happened(server: Server) -> None:
    def read() -> Counter[tuple[str, str | None]]:
        text = requests.get(server.url + "/metrics", timeout=10).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        counts: Counter[tuple[str, str | None]] = Counter()
        for sample in samples:
            counts[sample.name, sample.labels.get("status")] += int(sample.value)
        return counts

    before = read()
    server.post("/invocations", rows((1, 2), (3, 4)))
    server.post("/invocations", b"nonsense")
    after = read()
    assert after["legion_requests_total", "200"] == before["legion_requests_total", "200"] + 1
    assert after["legion_requests_total", "400"] == before["legion_requests_total", "400"] + 1
    assert after["legion_rows_total", None] == before["legion_rows_total", None] + 2
    assert after["legion_workers", None] == 1


def _raw(server: Server, *parts: bytes, answers: int) -> list[tuple[int, Any]]:
    """Send these bytes one read after another on one connection and read so many answers."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        for part in parts:
            sock.sendall(part)
        out, stream = [], sock.makefile("rb")
        for _ in range(answers):
            status = int(stream.readline().split()[1])
            headers = dict(iter(lambda: stream.readline().decode().rstrip().partition(": ")[::2], ("", "")))
            out.append((status, json.loads(stream.read(int(headers["content-length"])).strip() or "null")))
        return out


def _request(value: float, path: str = "/invocations", extra: str = "") -> bytes:
    body = json.dumps(rows((value, 1))).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    burst = _request(1) + _request(2) + ping + _request(3) + ping + ping + _request(4)
    a, b, pong, c, *_, d = _raw(server, burst, answers=7)
    assert pong[0] == 200
    assert [answer[1]["predictions"][0]["sum"] for answer in (a, b, c, d)] == [2.0, 3.0, 4.0, 5.0]
    many = _raw(server, b"".join(_request(i) for i in range(40)), answers=40)
    assert [answer["predictions"][0]["sum"] for _, answer in many] == [i + 1.0 for i in range(40)]


def test_a_prediction_is_answered_whatever_comes_before_and_behind_it(server: Server) -> None:
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    large = _request(2).replace(b'{"', b" " * 1_000_000 + b'{"', 1)
    large = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(large.partition(b"\r\n\r\n")[2]), large)
    burst = _request(1, extra=upgrade) + large + _request(3, extra=f"X: {'a' * 2000}\r\n") + b"no HTTP at all\r\n\r\n"
    *answers, last = _raw(server, burst[:-1000], burst[-1000:], answers=4)
    assert [answer["predictions"][0]["sum"] for _, answer in answers] == [2.0, 3.0, 4.0]
    assert last == (
        400,
        {"error_code": "BAD_REQUEST", "message": "this is not a valid HTTP/1.1 request", "stack_trace": ""},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_connections_that_are_reset_leave_nothing_behind(server: Server) -> None:
    request = _request(5)

    def reset(count: int) -> int:
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
                # Closed by a reset, not by an end of the stream.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(request)
                sock.recv(65536)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    before = reset(500)
    assert reset(3000) - before < 5_000


def test_a_request_in_many_small_pieces(server: Server) -> None:
    request = _request(5)
    pieces = [request[i : i + 1] for i in range(len(request))]
    assert _raw(server, *pieces, answers=1) == [(200, {"predictions": [{"sum": 6.0}]})]


def test_a_caller_who_waits_to_be_asked_for_the_body(server: Server) -> None:
    request = _request(5, extra="Expect: 100-continue\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 100")
        sock.sendall(body)
        received = b""
        while b"6.0" not in received:
            part = sock.recv(4096)
            assert part, received
            received += part


def test_a_caller_who_dawdles_with_the_body_is_let_go(server: Server) -> None:
    head = _request(5).partition(b"{")[0]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(head + b"{")
        assert b" 408 " in sock.recv(4096).split(b"\r\n")[0]


def test_a_caller_who_leaves_in_the_middle_of_a_body_leaves_nothing_in_the_log(server: Server) -> None:
    before = len(server.log.read_text())
    for path in ("/invocations", "/v2/repository/index", "/ping"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
            sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(b"no HTTP at all\r\n\r\n")
        assert sock.recv(4096)
    assert server.post("/invocations", rows((1, 2))).status_code == 200
    assert "Traceback" not in server.log.read_text()[before:]
    assert "uvicorn" not in server.log.read_text()[before:]


def test_a_connection_closes_when_asked(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(_request(5, extra="Connection: close\r\n"))
        received = b""
        while part := sock.recv(4096):
            received += part
    assert b"connection: close" in received.lower()
    assert received.endswith(b'{"predictions":[{"sum":6.0}]}')


def test_a_head_that_never_ends_is_cut_off(server: Server) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(b"POST /invocations HTTP/1.1\r\nX-Long: ")
        try:
            while sent < 50_000_000:
                sent += sock.send(b"a" * 65536)
        except OSError:
            pass
    assert sent < 50_000_000
    assert server.post("/invocations", rows((1, 2))).status_code == 200
