"""The client against a real `legion serve`, and against what may answer at a gateway's address."""

from __future__ import annotations

import gc
import http.server
import json
import math
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import Server, free_port
from legion.client import Client, GatewayError, GatewayRefused, rows
from legion.errors import InputError, OutsideError, RefusedError, UsageError

ADD = """
    def init():
        return "matrix"

    def info():
        number = {"type": "number", "required": True}
        return [{"name": "a", "example": 1.0, **number}, {"name": "b", "example": 2.0, **number}], [
            {"name": "sum", "type": "number"}
        ]

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[float(a) + 10 * float(b)] for a, b in input_matrix], ["sum"]
"""
ROWS = [[1.5, 2.0], [0.25, 3.0]]
SUMS = [{"sum": 21.5}, {"sum": 30.25}]


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> Server:
    """Two models in one gateway: `add` and `again`."""
    return start_server(f"add={gppi_folder(ADD)}", f"again={gppi_folder(ADD)}", "--env", "local")


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of it."""
    with Client(server.url, timeout=20) as client:
        yield client


@pytest.mark.slow
def test_every_form_of_rows_gives_the_same_predictions(client: Client) -> None:
    frame = pd.DataFrame(ROWS, columns=["a", "b"])
    records = [{"a": 1.5, "b": 2.0}, {"b": 3.0, "a": 0.25}]
    for given, columns in (
        (frame, None),
        (frame[["b", "a"]], None),
        (frame.assign(c="x"), ["a", "b"]),
        (records, None),
        ([{**row, "c": 1} for row in records], ["a", "b"]),
        (ROWS, ["a", "b"]),
        (np.array(ROWS), ["a", "b"]),
        ([np.array(row) for row in ROWS], ["a", "b"]),
        ({"dataframe_split": {"columns": ["a", "b"], "data": ROWS}}, None),
    ):
        assert client.predict(given, "add", columns=columns) == SUMS, given
    assert client.ready()


@pytest.mark.slow
def test_a_refusal_names_what_the_model_refuses_and_the_client_goes_on(client: Client) -> None:
    with pytest.raises(InputError, match="'b'"):
        client.predict([{"a": 1.0}], "add")
    with pytest.raises(InputError, match="row 1"):
        client.predict([[1, 2], ["x", 2]], "add", columns=["a", "b"])
    with pytest.raises(GatewayRefused, match="no model") as refused:
        client.predict(ROWS, "nowhere", columns=["a", "b"])
    assert refused.value.status == 404
    with pytest.raises(GatewayRefused, match="/models/NAME"):
        client.predict(ROWS, columns=["a", "b"])
    assert client.predict(ROWS, "add", columns=["a", "b"]) == SUMS


@pytest.mark.slow
def test_threads_share_a_client_and_each_has_its_own_answer(client: Client) -> None:
    def ask(number: int) -> Any:
        return client.predict([[number, 0.0]], "add", columns=["a", "b"])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(400))) == [[{"sum": float(number)}] for number in range(400)]


@pytest.mark.slow
def test_one_connection_is_kept(client: Client, server: Server) -> None:
    for _ in range(20):
        client.predict(ROWS, "add", columns=["a", "b"])
    ours = f"/proc/{os.getpid()}/net/tcp"
    port = f":{server.port:04X}"
    # remote address and state 01, established
    kept = [line.split() for line in Path(ours).read_text().splitlines()[1:]]
    assert sum(fields[2].endswith(port) and fields[3] == "01" for fields in kept) == 1


@pytest.mark.slow
def test_a_client_that_nobody_closes_leaves_no_connection(server: Server) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert Client(server.url).ready()
        gc.collect()
    assert [one.message for one in said] == []


@pytest.mark.slow
# Python 3.12 says it where there are threads; here the child ends at once.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_does_not_ask_on_its_parents_connection(client: Client) -> None:
    client.predict(ROWS, "add", columns=["a", "b"])
    parents = client._connections._idle[0].sock.getsockname()
    child = os.fork()
    if child == 0:
        answer = client.predict(ROWS, "add", columns=["a", "b"])
        own = client._connections._idle[0].sock.getsockname()
        os._exit(0 if answer == SUMS and own != parents else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client.predict(ROWS, "add", columns=["a", "b"]) == SUMS


@pytest.mark.slow
def test_a_gateway_that_was_started_again_is_asked_over_a_new_connection(
    gppi_folder: Callable[..., Path], environment: dict[str, str], tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log.txt"
    command = [sys.executable, "-m", "legion.cli.main", "serve", str(gppi_folder(ADD)), "--env", "local", "--port"]
    with Client(f"http://127.0.0.1:{port}") as client:
        for _ in range(2):
            with log.open("w") as out:
                process = subprocess.Popen([*command, str(port)], stdout=out, stderr=out, env=environment, text=True)
            server = Server(process, log, port)
            try:
                server.wait()
                assert client.predict(ROWS, columns=["a", "b"]) == SUMS
            finally:
                server.stop()


def test_rows_are_written_as_mlflow_writes_them() -> None:
    frame = pd.DataFrame(
        {
            "n": [1.0, math.nan],
            "i": pd.array([1, None], dtype="Int64"),
            "t": [pd.Timestamp("2026-01-02T03:04:05"), pd.NaT],
            "s": ["é", None],
            "b": [b"\x00\x01", b""],
            "f": np.array([1.5, 2.5], dtype="float32"),
        }
    )
    assert json.loads(rows.body(frame, params={"k": np.int64(3)})) == {
        "dataframe_split": {
            "columns": list(frame.columns),
            "data": [[1.0, 1, "2026-01-02T03:04:05", "é", "AAE=", 1.5], [None, None, None, None, "", 2.5]],
        },
        "params": {"k": 3},
    }
    assert json.loads(rows.body(np.array([[1, 2]], dtype="int8"))) == {"inputs": [[1, 2]]}


@pytest.mark.parametrize(
    ("given", "columns", "said"),
    [
        ({"a": [1]}, None, "exactly one of"),
        ({"inputs": [1], "instances": [1]}, None, "exactly one of"),
        ("1,2", None, "type str"),
        (iter([1]), None, "not read"),
        ([[1.0, math.inf]], ["a", "b"], r"dataframe_split.data\[0\]\[1\] is infinite"),
        ([{"a": np.float64(-math.inf)}], None, r"\[0\].a is infinite"),
        ([[10**5000]], ["a"], "JSON"),
        ([[object()]], ["a"], "type object"),
        (["\ud800"], None, "JSON"),
        ([{"a": 1}], ["b"], "row 0 has no 'b'"),
        (pd.DataFrame({"a": [1]}), ["b"], "columns="),
    ],
)
def test_rows_that_cannot_be_sent_are_refused_before_they_are(given: Any, columns: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        rows.body(given, columns)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:5001", "ftp://a", "http://", "http://a:70000", "http://a:x", "http://a/?q=1", "file:///etc/passwd"],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no gateway's address"):
        Client(url)


def test_secrets_stay_out_of_addresses_errors_and_reprs() -> None:
    with pytest.raises(UsageError) as refused:
        Client("http://me:s3cret@127.0.0.1:1")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(UsageError) as refused:
        Client(token="s3cret\r\nX-Other: 1")
    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in repr(Client(token="s3cret"))


def test_names_never_reach_another_path() -> None:
    client = Client()
    for name in ("..", "a/b", "", "a" * 64, "a\r\nb", "%2e"):
        with pytest.raises(UsageError):
            client.deployment(name)
        with pytest.raises(UsageError):
            client.predict([[1]], name)
        with pytest.raises(UsageError):
            client.deploy({"name": name, "model": "models:/wine/1"})


def test_nobody_at_the_address_is_an_error_outside() -> None:
    port = free_port()
    with pytest.raises(GatewayError, match=rf"no gateway answers at http://127.0.0.1:{port} \(Connection refused\)"):
        Client(f"http://127.0.0.1:{port}").ready()


def test_a_silent_gateway_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(OutsideError, match=r"silent for 0.2 s"):
        Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2).ready()


@pytest.mark.parametrize("columns", [2, 50_000])
def test_a_small_request_is_one_write_and_a_large_one_arrives_whole(columns: int) -> None:
    reads: list[bytes] = []

    def answer() -> None:
        with listening.accept()[0] as caller:
            reads.append(caller.recv(65536))
            head, _, body = reads[0].partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            while len(body) < length:
                reads.append(caller.recv(65536))
                body += reads[-1]
            reads.append(body)
            caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + b'{"predictions":1}')

    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        Client(f"http://127.0.0.1:{listening.getsockname()[1]}") as client,
    ):
        thread = threading.Thread(target=answer)
        thread.start()
        assert client.predict([[0.5] * columns]) == 1
        thread.join()
    assert json.loads(reads[-1]) == {"inputs": [[0.5] * columns]}
    assert (len(reads) == 2) == (columns == 2)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate with")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = type("Handler", (Stranger,), {"body": b"{}"})
    with http.server.HTTPServer(("localhost", 0), handler) as gateway:
        gateway.socket = context.wrap_socket(gateway.socket, server_side=True)
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        url = f"https://localhost:{gateway.server_port}"
        with pytest.raises(GatewayError, match="certificate verify failed"):
            Client(url).ready()
        done = subprocess.run(
            [sys.executable, "-c", f"from legion.client import Client; print(Client({url!r}).ready())"],
            env={**os.environ, "SSL_CERT_FILE": str(certificate)},
            capture_output=True,
            text=True,
            check=False,
        )
        gateway.shutdown()
    assert done.stdout == "True\n", done.stderr


class Stranger(http.server.BaseHTTPRequestHandler):
    """Another program at the gateway's address."""

    status = 200
    body = b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_PUT = do_GET

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>", GatewayError),
        (200, b"[]", GatewayError),
        (200, b"[" * 100_000, GatewayError),
        (302, b"", GatewayError),
        (404, b"<html>", GatewayError),
        (500, b'{"error": "it broke"}', GatewayError),
        (429, b'{"error": "later"}', GatewayError),
        (403, b'{"error": "no \\u001b[31mred"}', RefusedError),
    ],
)
def test_whatever_answers_is_one_of_legions_errors(status: int, body: bytes, kind: type[Exception]) -> None:
    handler = type("Handler", (Stranger,), {"status": status, "body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{stranger.server_port}")
        for call in (lambda: client.deployment("wine"), lambda: client.predict([[1]])):
            with pytest.raises(kind) as raised:
                call()
            assert str(raised.value).isprintable()
        stranger.shutdown()


@pytest.mark.slow
def test_a_model_that_does_not_answer_in_pieces_is_said_to(client: Client) -> None:
    with pytest.raises(UsageError, match="use predict"):
        next(client.stream([{"a": 1.0, "b": 2.0}], "add"))
    with pytest.raises(GatewayRefused, match="nobody"):
        next(client.stream([{"a": 1.0, "b": 2.0}], "nobody"))
