"""Every order that the provisioner takes ends in an answer, however its thread ends."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from legion.provision import __main__ as provision
from legion.provisioning_messages import Cancel, Failure, Notice, Order


@pytest.fixture
def said() -> queue.Queue[Notice]:
    return queue.Queue()


@pytest.fixture
def provisioner(tmp_path: Path, said: queue.Queue[Notice]) -> provision.Provisioner:
    return provision.Provisioner(tmp_path, lambda line: said.put(msgspec.json.decode(line, type=Notice)))


@pytest.mark.parametrize("fault", [ValueError("odd"), SystemExit(0), KeyboardInterrupt(), RecursionError("deep")])
def test_an_order_whose_thread_ends_is_a_failure_by_name(
    provisioner: provision.Provisioner,
    said: queue.Queue[Notice],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: BaseException,
) -> None:
    def follow(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(provision, "follow", follow)
    provisioner.take(Order(1, "models:/wine@champion", follow=1.0))
    failure = said.get(timeout=10)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith(f"models:/wine@champion could not be brought ({type(fault).__name__})")
    assert "Traceback" in caplog.text


def test_an_order_without_a_thread_is_a_failure_by_name(
    provisioner: provision.Provisioner, said: queue.Queue[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        provisioner.take(Order(1, "models:/wine@champion"))
    failure = said.get(timeout=10)
    assert isinstance(failure, Failure)
    assert "models:/wine@champion" in failure.reason


def test_an_order_that_is_cancelled_at_once_is_not_followed(
    provisioner: provision.Provisioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where its thread runs only after that."""
    seen: queue.Queue[bool] = queue.Queue()
    go = threading.Event()

    def begin(thread: threading.Thread) -> None:
        def later() -> None:
            go.wait(10)
            thread.run()

        real(threading.Thread(target=later, daemon=True))

    real = threading.Thread.start
    monkeypatch.setattr(provision, "follow", lambda order, cache, emit, cancelled: seen.put(cancelled.is_set()))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", begin)
        provisioner.take(Order(1, "models:/wine@champion", follow=1.0))
    provisioner.take(Cancel(1))
    go.set()
    assert seen.get(timeout=10)
