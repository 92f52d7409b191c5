"""Every line of the provisioner is one that the gateway reads, whatever a model or an error holds."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from legion.provision.lines import line
from legion.provisioning_messages import MAX_LINE, Delivery, Failure, Notice, Progress, Reach, Registered
from legion.wire import Plan


def read(notice: Notice) -> Notice:
    encoded = line(notice)
    assert encoded.endswith(b"\n")
    assert encoded.count(b"\n") == 1
    assert len(encoded) <= MAX_LINE + 1
    found: Notice = msgspec.json.decode(encoded, type=Notice)
    return found


def delivery(flavors: object) -> Delivery:
    plan = Plan("wine", "1.0.0-1", "/x", "pyfunc", flavors={"python_function": flavors})
    return Delivery(3, "wine/1/1", plan, "/python", {"inputs": [1]}, "sha256:x", Registered("wine", "1"))


def nested(levels: int) -> object:
    tree: object = None
    for _ in range(levels):
        tree = [tree]
    return tree


def test_a_delivery_comes_back_as_it_was() -> None:
    assert read(delivery({"loader_module": "mlflow.sklearn"})) == delivery({"loader_module": "mlflow.sklearn"})


@pytest.mark.parametrize(
    ("flavors", "what"),
    [
        ({"text": "x" * MAX_LINE}, "too large (16 MiB"),
        ({"number": 10**5000}, "cannot be handed over"),
        ({"half": "\ud800"}, "cannot be handed over"),
        ({("a", "b"): 1}, "cannot be handed over"),
        ({"thing": object()}, "cannot be handed over"),
        (nested(100_000), "cannot be handed over"),
    ],
    ids=["large", "digits", "surrogate", "key", "object", "deep"],
)
def test_a_delivery_that_cannot_be_handed_over_is_a_failure_by_name(flavors: object, what: str) -> None:
    failure = read(delivery(flavors))
    assert isinstance(failure, Failure)
    assert (failure.id, failure.kind, failure.key, failure.digest) == (3, "refused", "wine/1/1", "sha256:x")
    assert failure.registered == Registered("wine", "1")
    assert failure.reason.startswith("wine 1.0.0-1 ")
    assert what in failure.reason


@pytest.mark.parametrize(
    "notice",
    [
        lambda text: Failure(1, text, "outside"),
        lambda text: Progress(1, text),
        lambda text: Reach(1, text),
    ],
)
def test_long_and_odd_text_is_told_in_part(notice: Callable[[str], Notice]) -> None:
    found = read(notice("model\udcff " + "x" * 1_000_000))
    assert isinstance(found, (Failure, Progress, Reach))
    text = str(found.line if isinstance(found, Progress) else found.reason)
    assert text.startswith("model\\udcff x")
    assert len(text) < 20_000
    assert read(notice("short")) == notice("short")
