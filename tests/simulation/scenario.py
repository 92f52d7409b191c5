"""What a seed means: which deployments there are, what their models are like, and what happens to them when.

A scenario is plain data, so that one that fails can be cut down to what makes it fail.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec

# Nothing goes wrong with this deployment, so whatever happens to it was another's fault.
STEADY = "steady"
# Seconds in which things happen and go wrong.
TROUBLE = 8.0


class Model(msgspec.Struct, frozen=True):
    """A call takes `seconds`; a merged batch `seconds` and `each` for every call in it.

    A share of `prone` of its workers goes wrong.
    """

    merges: bool
    seconds: float
    each: float
    prone: float
    follows: bool


class Deployed(msgspec.Struct, frozen=True):
    """A deployment as it is declared first."""

    name: str
    models: tuple[Model, ...]
    workers: int
    timeout: float
    queue: int
    keep_warm: float
    sticky: bool


class Step(msgspec.Struct, frozen=True):
    """At `at` seconds, `what` happens to `whom`, a deployment's name; `how` says more, in seconds or workers.

    A call comes with a body that takes `body` seconds to arrive. Its caller leaves `how` seconds later, unless that is
    negative. One that is `poisoned` ends any worker that executes it, and the answer
    to one that is `streamed` comes in pieces.
    """

    at: float
    what: str
    whom: str = ""
    how: float = -1.0
    body: float = 0.0
    poisoned: bool = False
    streamed: bool = False


class Scenario(msgspec.Struct, frozen=True):
    """`seed` also decides what becomes of each worker, by its own name, so that leaving out a step changes no other."""

    seed: int
    deployments: tuple[Deployed, ...]
    steps: tuple[Step, ...]

    def without(self, places: set[int]) -> Scenario:
        """The same without these steps."""
        return msgspec.structs.replace(
            self, steps=tuple(step for place, step in enumerate(self.steps) if place not in places)
        )


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(seed)
    troubled = tuple(_deployed(rng, f"d{number}") for number in range(rng.choice((1, 1, 2))))
    calm = Model(merges=rng.random() < 0.5, seconds=0.004, each=0.0001, prone=0.0, follows=False)
    steady = Deployed(STEADY, (calm,), workers=1, timeout=5.0, queue=64, keep_warm=0.0, sticky=False)
    steps = [step for one in troubled for step in _steps(rng, one)]
    steps += (Step(rng.uniform(0, TROUBLE), "call", STEADY) for _ in range(8))
    return Scenario(seed, (steady, *troubled), tuple(sorted(steps, key=lambda step: step.at)))


def _deployed(rng: random.Random, name: str) -> Deployed:
    prone = rng.choice((0.0, 0.2, 0.5))
    models = tuple(
        Model(
            merges=rng.random() < 0.5,
            seconds=rng.choice((0.0002, 0.003, 0.02, 0.2, 0.5)),
            each=rng.choice((0.0, 0.0001, 0.01)),
            prone=prone,
            follows=rng.random() < 0.6,
        )
        for _ in range(rng.choice((1, 1, 2)))
    )
    return Deployed(
        name,
        models,
        workers=rng.choice((1, 1, 2, 3)),
        timeout=rng.choice((0.5, 1.0, 3.0)),
        queue=rng.choice((2, 16, 64)),
        keep_warm=rng.choice((0.0, 1.0, 300.0)),
        sticky=rng.random() < 0.3,
    )


def _steps(rng: random.Random, one: Deployed) -> Iterator[Step]:
    for _ in range(rng.randrange(4)):
        # Many at once, of whom some leave.
        at, leave = rng.uniform(0, TROUBLE), rng.choice((0.0, 0.0, 0.3))
        for _ in range(rng.choice((3, 10, 25))):
            patience = rng.choice((0.0, 0.001, 0.05, 0.4)) if rng.random() < leave else -1.0
            body = rng.uniform(0.0, 0.9) * one.timeout if rng.random() < 0.15 else 0.0
            yield Step(at + rng.uniform(0, 0.02), "call", one.name, patience, body)
    for _ in range(rng.randrange(12)):
        poisoned = one.models[0].prone > 0 and rng.random() < 0.1
        patience = rng.choice((-1.0, -1.0, -1.0, 0.01))
        yield Step(rng.uniform(0, TROUBLE), "call", one.name, patience, poisoned=poisoned)
    for _ in range(rng.choice((0, 0, 4)) if not any(model.merges for model in one.models) else 0):
        patience = rng.choice((-1.0, -1.0, 0.01, 0.5))
        yield Step(rng.uniform(0, TROUBLE), "call", one.name, patience, streamed=True)
    others: tuple[tuple[str, Any], ...] = (
        ("move", 0.0),
        ("move", 0.0),
        ("rollback", 0.0),
        ("redeclare", rng.choice((1.0, 2.0))),
        ("redeclare", rng.choice((1.0, 3.0))),
        ("remove", 0.0),
        ("kill", 0.0),
        ("kill", 0.0),
        ("provisioner", 0.0),
        ("files", rng.choice((0.5, 3.0))),
        ("quiet", rng.choice((0.5, 2.0))),
        ("unkept", rng.choice((0.5, 2.0))),
        ("unreadable", 0.0),
    )
    for what, how in rng.sample(others, rng.randrange(6)):
        yield Step(rng.uniform(0, TROUBLE), what, one.name, how)
    if rng.random() < 0.02:
        yield Step(rng.uniform(0, TROUBLE), "flood", one.name)
