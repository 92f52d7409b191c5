"""What a proof finds, what is said of it, and that what is wrong is seen."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "reliability"))

import callers
import page
from callers import CLOSED, Call
from demands import Demand, Section, Table, at_most, none_of
from swaps import Move, first_answers, stale

MET, MISSED = none_of("failed requests", 0), none_of("stale answers", 1_234)


def section(*demands: Demand) -> Section:
    return Section("Moves", demands, (Table(("", "figure"), (("a|b", "1 s"),)),), ("How it was done.",))


def test_a_proof_is_met_when_all_its_demands_are_and_there_are_any() -> None:
    assert section(MET).met
    assert not section(MET, MISSED).met
    assert not section().met
    assert at_most("time", 2.0, 2.0, "s").met
    assert not at_most("time", 2.01, 2.0, "s").met


def test_the_page_says_what_was_missed() -> None:
    text = page.markdown([section(MET, MISSED)], {"CPU": "One"}, datetime.date(2026, 1, 2))
    assert "1 of 2 demands are met; missed: Moves: stale answers." in text
    assert "| failed requests | 0 | 0 | met |" in text
    assert "| stale answers | 0 | 1,234 | missed |" in text
    assert "| a\\|b | 1 s |" in text
    assert "How it was done." in text
    assert "2026-01-02" in text
    assert "Moves: MISSED" in page.text(section(MISSED))


def test_a_proof_is_renewed_on_the_page() -> None:
    other = Section("Others", (MET, at_most("a|b", 3.0, 2.0, "s")))
    whole = page.markdown([section(MET, MISSED), other], {"CPU": "One"}, datetime.date(2026, 1, 2))
    again = page.renewed(whole, [section(MET), Section("Third", (MET,))], datetime.date(2026, 3, 4))
    assert "3 of 4 demands are met; missed: Others: a\\|b." in again
    assert "stale answers" not in again
    titles = [line[3:] for line in again.splitlines() if line.startswith("## ")]
    assert titles == ["Moves", "Others", "Third", "The machine", "Proving it again"]
    assert again.count("Measured again on 2026-03-04.") == 2
    assert page.renewed(again, [], datetime.date(2026, 3, 5)) == again


MOVES = [Move(1, "before", 0.0, 0.0, 10.0), Move(2, "new", 10.0, 12.0, 20.0), Move(1, "back", 20.0, 20.5, 30.0)]


@pytest.mark.parametrize(
    ("sent", "came", "version", "wrong"),
    [
        (5.0, 5.1, 1, False),
        (5.0, 5.1, 2, True),
        (9.99, 10.9, 2, False),
        (10.5, 10.6, 1, False),
        (10.5, 10.6, 2, False),
        (10.5, 10.6, 3, True),
        (12.1, 12.2, 1, True),
        (12.1, 12.2, 2, False),
        (19.99, 20.2, 1, False),
        (20.6, 20.7, 2, True),
    ],
)
def test_an_answer_is_stale_when_another_version_was_shown_serving(
    sent: float, came: float, version: int, wrong: bool
) -> None:
    call = Call(sent, came, 200, 1, True, version)
    assert stale([call], MOVES) == ([call] if wrong else [])


def test_the_first_answer_counts_from_the_alias_move() -> None:
    calls = [Call(9.0, 11.5, 200, 1, True, 2), Call(11.0, 11.2, 200, 2, True, 1), Call(21.0, 21.5, 200, 3, True, 1)]
    assert first_answers(calls, MOVES[1:]) == [1.5, 1.5]
    assert first_answers(calls[:2], MOVES[1:])[1] == float("inf")


class _Liar(BaseHTTPRequestHandler):
    """Answers every third request for somebody else, every fifth with 500, and closes on every seventh."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self) -> None:
        (row,) = json.loads(self.rfile.read(int(self.headers["content-length"])))["dataframe_split"]["data"]
        type(self).asked += 1
        turn = self.asked
        if turn > 8 and turn % 7 == 0:
            self.close_connection = True
            return
        value = row[0] + (turn > 8 and turn % 3 == 0)
        body = json.dumps({"predictions": [{"v": 4, "a": value}]}).encode()
        self.send_response(500 if turn > 8 and turn % 5 == 0 else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def liar() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Liar) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_callers_see_every_kind_of_wrong_answer(liar: int, tmp_path: Path) -> None:
    with callers.started(liar, tmp_path / "calls", count=2, pause=0.001) as load:
        while _Liar.asked < 200:
            pass
    calls = load.calls
    assert len(calls) == _Liar.asked
    assert len({call.value for call in calls}) == len(calls)
    kinds = {(call.status, call.own) for call in calls}
    assert kinds == {(200, True), (200, False), (500, True), (500, False), (CLOSED, False)}
    assert all(call.failed == (call.status != 200 or not call.own) for call in calls)
    assert {call.version for call in calls if call.status > 0} == {4}
    assert all(call.came >= call.sent for call in calls)


@pytest.mark.parametrize(("keep", "connections"), [(True, 2), (False, 20)])
def test_callers_keep_their_connections_or_open_new_ones(tmp_path: Path, keep: bool, connections: int) -> None:
    opened = []

    class Counted(_Liar):
        def setup(self) -> None:
            opened.append(self)
            super().setup()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "2")
            if self.headers["connection"] == "close":
                self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(b"{}")

    with ThreadingHTTPServer(("127.0.0.1", 0), Counted) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with callers.started(server.server_port, tmp_path / "calls", count=2, pause=0.001, keep=keep) as load:
            while keep is False and len(opened) < connections:
                pass
        server.shutdown()
        thread.join()
    assert all(call.status == 200 for call in load.calls)
    assert len(opened) == (connections if keep else len(load.calls))


def test_a_missed_demand_ends_the_program_with_1(tmp_path: Path) -> None:
    source = f"""
import sys
sys.argv = ["run.py", "--only", "swaps", "--quick"]
sys.path.insert(0, {str(Path(page.__file__).parent)!r})
import run
from demands import Failed, Section, none_of
def prove(scale):
    {{}}
run.PROOFS["swaps"] = prove
sys.exit(run.main())
"""
    ends = {
        'return Section("Moves", (none_of("lost", 0),))': 0,
        'return Section("Moves", (none_of("lost", 1),))': 1,
        'raise Failed("it did not come about")': 1,
    }
    for statement, code in ends.items():
        command = [sys.executable, "-c", source.replace("{}", statement)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("did not come about" in done.stdout) == ("Failed" in statement)
