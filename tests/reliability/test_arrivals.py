"""The open-loop load generator, and what is made of its records."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "reliability"))

import itertools

import arrivals
import goodput
from arrivals import LEFT, NO_ANSWER, Arrival
from callers import Call
from goodput import MODELS, Model, Run, Waiting
from scale import Scale

# Status, value and headers of an answer; None closes the connection without one.
Answer = tuple[int, float, dict[str, str]] | None


class Server(ThreadingHTTPServer):
    """Answers as `behave` says for the value that was asked with."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, behave: Callable[[int], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behave = behave

    def handle_error(self, *_: Any) -> None:
        """A client that has left is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        ((value,),) = json.loads(self.rfile.read(int(self.headers["content-length"])))["dataframe_split"]["data"]
        answer = self.server.behave(value)
        if answer is None:
            self.close_connection = True
            return
        status, given, headers = answer
        body = json.dumps({"predictions": [{"v": 1, "a": given}]}).encode()
        self.send_response(status)
        for name, content in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., list[Arrival]]]:
    started = []

    def load(behave: Callable[[int], Answer], **options: float) -> list[Arrival]:
        server = Server(behave)
        started.append(server)
        threading.Thread(target=server.serve_forever).start()
        return arrivals.run(server.server_port, tmp_path / "out", **options)

    yield load
    for server in started:
        server.shutdown()
        server.server_close()


def test_as_many_arrive_as_wanted_in_the_wanted_time() -> None:
    times = arrivals.schedule(50, 4)
    assert len(times) == 200
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] == pytest.approx(4)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    # Exponential gaps: their standard deviation is their mean.
    assert 0.015 < (sum((gap - 0.02) ** 2 for gap in gaps) / len(gaps)) ** 0.5 < 0.025


def test_a_server_that_stalls_does_not_slow_the_arrivals_down(serve: Callable[..., list[Arrival]]) -> None:
    began = []

    def stall(value: int) -> Answer:
        # Whoever comes in the second half second waits for its end.
        began.append(time.monotonic())
        inside = began[-1] - began[0]
        time.sleep(1 - inside if 0.5 < inside < 1 else 0)
        return 200, value, {}

    found = serve(stall, rate=50, seconds=1.5, deadline=5)
    assert len(found) == 75
    assert all(one.status == 200 and one.own for one in found)
    waited = [one.latency for one in found if one.latency > 0.1]
    # Of some 25 who come then, those in the first four fifths wait longer than a tenth of a second.
    assert 12 <= len(waited) <= 28
    assert max(waited) == pytest.approx(0.45, abs=0.15)


def test_every_kind_of_answer_is_told_apart(serve: Callable[..., list[Arrival]]) -> None:
    kinds: list[Callable[[int], Answer]] = [
        lambda value: (200, value, {}),
        lambda value: (200, value + 1, {}),
        lambda value: (200, value, {"connection": "close"}),
        lambda value: (503, value, {"retry-after": "3"}),
        lambda value: (429, value, {}),
        lambda value: None,
    ]
    found = serve(lambda value: kinds[value % 6](value), rate=120, seconds=0.5, deadline=5)
    assert [one.value for one in found] == list(range(arrivals.FIRST, arrivals.FIRST + 60))
    told = [(200, True, None), (200, False, None), (200, True, None), (503, False, 3.0), (429, False, None)]
    told.append((NO_ANSWER, False, None))
    for one in found:
        assert (one.status, one.own, one.retry_after) == told[one.value % 6]
        assert one.refused == (one.status in (503, 429))
        assert one.due <= one.sent <= one.came


def test_who_gets_no_answer_before_the_deadline_is_counted(serve: Callable[..., list[Arrival]]) -> None:
    released = threading.Event()
    found = serve(lambda value: released.wait(5) and None, rate=20, seconds=0.5, deadline=0.5)
    released.set()
    assert [one.status for one in found] == [NO_ANSWER] * 10
    assert all(one.latency >= 0.5 for one in found)


def test_clients_leave_after_the_time_they_are_given(serve: Callable[..., list[Arrival]]) -> None:
    def slowly(value: int) -> Answer:
        time.sleep(0.3)
        return 200, value, {}

    found = serve(slowly, rate=40, seconds=0.5, deadline=2, leave=0.05)
    assert [one.status for one in found] == [LEFT] * 20
    # Timers go by whole milliseconds; the answers would come after 0.3 s.
    assert all(one.came - one.sent >= 0.048 for one in found)


def test_who_is_answered_in_time_does_not_leave(serve: Callable[..., list[Arrival]]) -> None:
    found = serve(lambda value: (200, value, {}), rate=40, seconds=0.5, deadline=2, leave=1.0)
    assert [one.status for one in found] == [200] * 20


def answered(due: float, latency: float, status: int = 200) -> Arrival:
    retry_after = None if status == 200 else 1.0
    return Arrival(due, due, due + latency, status, 1, status == 200, retry_after)


def test_goodput_counts_the_right_answers_that_came_in_time() -> None:
    # Two answers per second, the last as the arrivals end.
    found = [answered(number / 2, 0.5) for number in range(20)]
    found += [answered(9.0, 6.0), answered(9.0, 0.1, 503), Arrival(9.0, 9.0, 9.1, 200, 1, False)]
    assert goodput.goodput(found, 0.0, 10.0, 5.0) == 2.0
    # What is answered after the last arrival takes its time, too.
    assert goodput.goodput([*found, answered(9.5, 4.5)], 0.0, 10.0, 5.0) == 21 / 14
    assert goodput.goodput([answered(0, 6.0)], 0.0, 10.0, 5.0) == 0


def test_goodput_leaves_out_the_time_of_learning() -> None:
    slow = [answered(0.0, 1.0)]
    batches = [answered(number / 4, 4.0) for number in range(4, 40, 4) for _ in range(8)]
    # The last batch of the first five seconds ends after five, and eight more follow in eight seconds.
    assert goodput.goodput(slow + batches, 5.5, 10.0, 5.0) == 8.0
    # A server that then stalls has no shorter time to answer in.
    assert goodput.goodput([answered(0.0, 4.0), answered(10.0, 4.0)], 5.5, 10.0, 5.0) == 0.1


def test_only_what_ended_in_the_time_of_waiting_counts() -> None:
    calls = [Call(1.0, 2.0, 200, 1, True, 1), Call(2.0, 10.9, 200, 2, True, 1), Call(3.0, 11.1, 200, 3, True, 1)]
    assert goodput.within(calls, 10.0) == calls[:2]


def test_a_gateway_that_answers_what_it_can_meets_every_demand() -> None:
    scale = Scale(overloads=(5,), arriving=10.0)

    def run(model: Model, share: float, refused_after: float) -> Run:
        good = [answered(number / model.capacity / share, 1.0) for number in range(int(model.capacity * share * 10))]
        return Run(model, 5, [*good, answered(0.0, 2.0, 503), answered(6.0, refused_after, 503)], 0)

    waiting = Waiting(40, 85, 90, 100, 0)
    assert goodput.section([run(model, 1.0, 0.01) for model in MODELS], waiting, scale).met
    late = goodput.section([run(model, 1.0, 0.06) for model in MODELS], waiting, scale)
    assert [demand.met for demand in late.demands[:4]] == [True, True, True, False]
    few = goodput.section([run(model, 0.85, 0.01) for model in MODELS], waiting, scale)
    assert [demand.met for demand in few.demands[:4]] == [False, True, True, True]


@pytest.mark.parametrize(
    ("one", "met"),
    [
        (Arrival(0.0, 0.0, 0.01, 503, 1, False, 1.0), True),
        (Arrival(0.0, 0.0, 0.01, 503, 1), False),
        (Arrival(0.0, 0.0, 0.01, NO_ANSWER, 1), False),
    ],
)
def test_each_refusal_says_when_to_try_again(one: Any, met: bool) -> None:
    model = MODELS[0]
    (_, told, _, _) = goodput._demands(model, [Run(model, 5, [one], 0)], Scale())
    assert told.met is met


def test_the_capacity_is_that_of_the_largest_batches() -> None:
    merged, alone = MODELS[2], MODELS[3]
    assert merged.capacity == pytest.approx(256 / (0.3 + 256 * 0.003))
    assert alone.capacity == pytest.approx(1 / 0.3)
