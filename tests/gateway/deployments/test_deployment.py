"""Which variant a request goes to, and who is told of its answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from legion import wire
from legion.gateway.deployments.choice import Choice
from legion.gateway.deployments.declaration import Declaration, VariantDeclaration, Workers
from legion.gateway.deployments.deployment import Deployment
from legion.gateway.deployments.observers import Answered
from legion.gateway.deployments.runtime import REAL
from legion.gateway.deployments.turns import Turns
from legion.gateway.deployments.variant import Settings
from legion.gateway.limits import Limits
from legion.gateway.metrics import Meter


def declaration(**weights: float) -> Declaration:
    variants = tuple(VariantDeclaration(name, f"{name}.zip", weight) for name, weight in weights.items())
    return Declaration("wine", variants, sticky="x-user")


async def deployed(**weights: float) -> Deployment:
    """A deployment whose variants have no release yet."""
    settings = Settings("wine", Workers(), Limits(), Turns(), REAL, print, print, print)
    return Deployment(declaration(**weights), settings, {})


def release() -> Any:
    return SimpleNamespace(meter=Meter())


def test_a_choice_knows_its_variant() -> None:
    deployment = asyncio.run(deployed(champion=50, challenger=50))
    for variant in deployment.variants:
        variant.release = release()
    chosen: list[Any] = [deployment.choose([(b"x-user", b"%d" % number)]) for number in range(40)]
    assert {choice.variant.declared.name for choice in chosen} == {"champion", "challenger"}
    assert all(choice.release is choice.variant.release for choice in chosen)


def test_another_variant_answers_for_one_without_a_release() -> None:
    deployment = asyncio.run(deployed(champion=100, challenger=0))
    assert deployment.choose([]) is None
    challenger = deployment.variants[1]
    challenger.release = release()
    assert deployment.choose([]) == Choice(challenger, challenger.release)


def test_the_only_variant_is_chosen_once_it_has_a_release() -> None:
    deployment = asyncio.run(deployed(champion=100))
    assert deployment.choose([]) is None
    (champion,) = deployment.variants
    champion.release = release()
    assert deployment.choose([]) == Choice(champion, champion.release)


def test_answers_are_counted_where_they_were_chosen() -> None:
    deployment = asyncio.run(deployed(champion=100))
    (champion,) = deployment.variants
    champion.release = answering = release()
    choice: Any = deployment.choose([])
    call, reply = wire.Call(wire.MLFLOW, b"{}"), wire.Reply(200, b"{}", rows=3)
    # It has been replaced by the time of the answer.
    champion.release = release()
    for observe in deployment.observers:
        observe(Answered(b"1", 200, 0.01, choice, call, reply))
        observe(Answered(b"2", 504, 0.01, choice, call, None))
        observe(Answered(b"3", 415, 0.01, None, None, None))
    assert (answering.meter.statuses, answering.meter.rows) == ({200: 1, 504: 1}, 3)
    assert deployment.meter.statuses == {415: 1}
    assert champion.release.meter.statuses == {}
