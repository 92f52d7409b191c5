"""One order against a registry that answers, fails and moves: what is delivered, refused, tried again."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from legion.errors import EnvironmentBuildError, RegistryError, VerificationError
from legion.provision import follow as following
from legion.provision.resolve import Resolved
from legion.provisioning_messages import Bringing, Delivery, Failure, Notice, Order, Reach
from legion.registry import store
from legion.registry.store import RegisteredVersion
from legion.wire import Plan


class World:
    """What the registry says, and what becomes of bringing each version."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.version: Any = "1"
        self.faults: dict[str, Exception] = {}
        self.brought: list[str] = []
        self.events: list[Notice] = []
        self.begun: list[str] = []
        self.cancelled = threading.Event()
        monkeypatch.setattr(store, "resolve", self._look)
        monkeypatch.setattr(following, "resolve", self._bring)

    def _look(self, reference: Any) -> RegisteredVersion:
        if isinstance(self.version, Exception):
            raise self.version
        return RegisteredVersion("wine", self.version, made_at=1)

    def _bring(self, text: str, **_: Any) -> Resolved:
        number = text.rsplit("/", 1)[-1]
        self.brought.append(number)
        if number in self.faults:
            raise self.faults[number]
        return Resolved(Plan("wine", f"1.0.0-{number}", "/x", "gppi"), Path("/python"), None, None)

    def start(self, **fields: Any) -> None:
        order = Order(7, "models:/wine@champion", follow=0.01, **fields)
        arguments = (order, Path("/cache"), self._hear, self.cancelled)
        threading.Thread(target=following.follow, args=arguments, daemon=True).start()

    def _hear(self, notice: Notice) -> None:
        if isinstance(notice, Bringing):
            self.begun.append(notice.key)
        else:
            self.events.append(notice)

    def wait(self, count: int) -> list[Notice]:
        end = time.monotonic() + 5
        while len(self.events) < count:
            assert time.monotonic() < end, self.events
            time.sleep(0.002)
        time.sleep(0.05)
        assert len(self.events) == count, self.events
        return self.events


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = World(monkeypatch)
    yield made
    made.cancelled.set()


def keys(events: list[Notice]) -> list[Any]:
    return [(type(event).__name__, getattr(event, "key", None)) for event in events]


def test_each_version_is_brought_once(world: World) -> None:
    world.start()
    world.wait(1)
    world.version = "2"
    assert keys(world.wait(2)) == [("Delivery", "wine/1/1"), ("Delivery", "wine/2/1")]
    assert world.brought == ["1", "2"]
    # Said before each, so that the gateway knows what ended this process.
    assert world.begun == ["wine/1/1", "wine/2/1"]


def test_what_is_known_is_not_brought(world: World) -> None:
    world.start(known="wine/1/1")
    assert world.wait(1) == [Reach(7, None)]
    assert world.begun == []
    world.version = "2"
    assert keys(world.wait(2))[1:] == [("Delivery", "wine/2/1")]


def test_a_refused_version_is_not_tried_again_until_the_alias_moves(world: World) -> None:
    world.faults["2"] = VerificationError("damaged")
    world.start()
    world.wait(1)
    world.version = "2"
    failure = world.wait(2)[1]
    assert isinstance(failure, Failure)
    assert failure.registered is not None
    assert (failure.kind, failure.reason, failure.registered.version) == ("refused", "damaged", "2")
    assert world.brought == ["1", "2"]
    world.version = "1"
    world.wait(3)
    world.version = "2"
    world.wait(4)
    assert world.brought == ["1", "2", "1", "2"]


def test_an_outside_failure_is_said_once_and_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_RETRY", (0.02, 0.05))
    world.faults["1"] = EnvironmentBuildError("the index is down")
    world.start()
    time.sleep(0.3)
    assert keys(world.wait(1)) == [("Failure", "wine/1/1")]
    assert 4 <= len(world.brought) < 16
    del world.faults["1"]
    assert isinstance(world.wait(2)[1], Delivery)


def test_a_move_is_noticed_while_another_version_waits_to_be_tried_again(world: World) -> None:
    world.faults["2"] = EnvironmentBuildError("the index is down")
    world.start()
    world.wait(1)
    world.version = "2"
    world.wait(2)
    moved = time.monotonic()
    world.version = "3"
    assert keys(world.wait(3))[2] == ("Delivery", "wine/3/1")
    assert time.monotonic() - moved < 1


def test_going_back_to_what_is_served_ends_a_failure(world: World) -> None:
    world.faults["2"] = EnvironmentBuildError("the index is down")
    world.start()
    world.wait(1)
    world.version = "2"
    world.wait(2)
    world.version = "1"
    assert keys(world.wait(3))[2] == ("Delivery", "wine/1/1")


def test_a_registry_that_is_away_is_said_once_and_when_it_is_back(world: World) -> None:
    world.start()
    world.wait(1)
    world.version = RegistryError("no answer")
    assert world.wait(2)[1] == Reach(7, "no answer")
    world.version = "1"
    assert world.wait(3)[2] == Reach(7, None)


def test_a_cancelled_order_ends(world: World) -> None:
    world.start()
    world.wait(1)
    world.cancelled.set()
    time.sleep(0.05)
    world.version = "2"
    world.wait(1)


@pytest.mark.parametrize("fault", [SystemExit(3), RecursionError("deep"), KeyError("flavors"), MemoryError()])
def test_what_nobody_expected_is_a_failure_by_name_and_the_following_goes_on(
    world: World, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world.faults["1"] = fault
    world.start()
    failure = world.wait(1)[0]
    assert isinstance(failure, Failure)
    assert failure.registered is not None
    assert (failure.kind, failure.key) == ("outside", "wine/1/1")
    assert failure.reason.startswith("models:/wine/1 could not be brought (")
    assert "Traceback" in caplog.text
    world.version = "2"
    assert keys(world.wait(2))[1] == ("Delivery", "wine/2/1")


def test_a_registry_that_breaks_its_client_is_said_and_asked_again(world: World) -> None:
    world.version = AttributeError("'NoneType' object has no attribute 'aliases'")
    world.start()
    away = world.wait(1)[0]
    assert isinstance(away, Reach)
    assert away.reason is not None
    assert "AttributeError" in away.reason
    world.version = "1"
    assert keys(world.wait(3))[1:] == [("Reach", None), ("Delivery", "wine/1/1")]


@pytest.mark.parametrize(
    ("mlmodel", "fault"),
    [
        ("flavors: {python_function: {seed: 18446744073709551616}}", "flavors.python_function.seed"),
        ("flavors: {python_function: {same: &a [*a]}}", "line 1"),
        ("nonsense", "must be a mapping"),
    ],
)
def test_a_model_whose_mlmodel_is_odd_is_refused_by_its_faults(
    gppi_folder: Any, tmp_path: Path, mlmodel: str, fault: str
) -> None:
    folder = gppi_folder("")
    manifest = folder / "legion.model.yaml"
    manifest.write_text(manifest.read_text() + "  interface: pyfunc\n")
    (folder / "MLmodel").write_text(mlmodel)
    events: list[Notice] = []
    following.follow(Order(1, str(folder), "local"), tmp_path, events.append, threading.Event())
    failure = events[-1]
    assert isinstance(failure, Failure)
    assert failure.kind == "refused"
    assert "MLmodel has one fault" in failure.reason
    assert fault in failure.reason
