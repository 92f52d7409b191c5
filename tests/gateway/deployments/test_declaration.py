"""DEPLOYMENT.yaml: what is read, and every fault at once."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest

from legion.gateway.deployments import declaration
from legion.gateway.deployments.declaration import Declaration, DeclarationError, VariantDeclaration, Workers
from legion.gateway.limits import MIB, Limits

WHOLE = b"""
name: wine
variants:
  - {name: champion, model: "models:/wine@champion", weight: 90}
  - {name: challenger, model: "models:/wine@challenger", weight: 10}
sticky: header:X-User-Id
limits: {max_body: 1MiB, queue: 7, timeout: 500ms, start: 20s}
workers: {replicas: 2, env: local, keep_warm: 5m}
follow: 10s
"""


def faults(text: bytes) -> dict[str, str]:
    with pytest.raises(DeclarationError) as caught:
        declaration.read_yaml(text, "wine.yaml")
    assert str(caught.value).startswith("wine.yaml cannot be deployed: ")
    return {fault.path: fault.message for fault in caught.value.faults}


def test_every_field_is_read() -> None:
    assert declaration.read_yaml(WHOLE, "wine.yaml") == Declaration(
        name="wine",
        variants=(
            VariantDeclaration("champion", "models:/wine@champion", 90.0),
            VariantDeclaration("challenger", "models:/wine@challenger", 10.0),
        ),
        follow=10.0,
        sticky="x-user-id",
        limits=Limits(max_body=MIB, queue=7, timeout=0.5, start=20.0),
        workers=Workers(2, "local", 300.0),
    )


def test_one_model_is_enough() -> None:
    read = declaration.read_yaml(b"name: wine\nmodel: models:/wine@champion\n", "wine.yaml")
    assert read == Declaration("wine", (VariantDeclaration("champion", "models:/wine@champion"),), follow=2.0)
    assert declaration.read_yaml(b"name: wine\nmodel: models:/wine/3\n", "wine.yaml").follow is None
    assert declaration.read_yaml(b"name: wine\nmodel: wine.zip\n", "wine.yaml").follow is None
    text = b"name: wine\nmodel: models:/wine@champion\nfollow: false\n"
    assert declaration.read_yaml(text, "wine.yaml").follow is None


def test_json_and_yaml_mean_the_same() -> None:
    tree = {
        "model": "models:/wine@champion",
        "limits": {"max_body": 1024, "timeout": 2},
        "workers": {"keep_warm": 0},
    }
    read = declaration.read_json(json.dumps(tree).encode(), "wine", "wine")
    assert read.limits == Limits(max_body=1024, timeout=2.0)
    assert read.workers.keep_warm == 0
    text = (
        b"name: wine\nmodel: models:/wine@champion\nlimits: {max_body: 1KiB, timeout: 2s}\nworkers: {keep_warm: 0s}\n"
    )
    assert declaration.read_yaml(text, "wine.yaml") == read


def test_all_faults_come_at_once() -> None:
    found = faults(
        b"""
name: a b
variants:
  - {name: one, model: "models:/x", weight: 50}
  - {name: one, weight: x, extra: 1}
  - just text
sticky: cookie:id
limits: {max_body: big, queue: 0, timeout: 0s, start: soon, depth: 3}
workers: {replicas: 1.5, env: venv, keep_warm: soon}
shadow: [{name: next, model: "models:/wine/7"}]
follow: never
nmae: x
"""
    )
    assert sorted(found) == sorted(
        [
            "name",
            "variants[0].model",
            "variants[1].model",
            "variants[1].weight",
            "variants[1].extra",
            "variants[2]",
            "variants",
            "sticky",
            "limits.max_body",
            "limits.queue",
            "limits.timeout",
            "limits.start",
            "limits.depth",
            "workers.replicas",
            "workers.env",
            "workers.keep_warm",
            "shadow",
            "follow",
            "nmae",
        ]
    )
    assert all(message.count("\n") == 0 for message in found.values())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"", "(file)"),
        (b"- a\n", "(file)"),
        (b"name: wine\n", "variants"),
        (b"name: wine\nmodel: a.zip\nvariants: []\n", "variants"),
        (b"name: wine\nname: wine\nmodel: a.zip\n", "name"),
        (b"name: wine\nmodel: &a a.zip\nsticky: *a\n", "line 2"),
        (b"name: wine\nmodel: $(touch x)://y\n", None),
        (b"model: a.zip\n", "name"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: bytes, path: str | None) -> None:
    if path is None:
        # A path may be called anything; it is never given to a shell.
        assert declaration.read_yaml(text, "wine.yaml").variants[0].model == "$(touch x)://y"
    else:
        assert path in faults(text)


@pytest.mark.parametrize("weights", [(50, 49), (100, 1), (-1, 101), (0, 0)])
def test_weights_sum_to_100(weights: tuple[int, ...]) -> None:
    variants = [
        {"name": f"v{place}", "model": "models:/wine/1", "weight": weight} for place, weight in enumerate(weights)
    ]
    with pytest.raises(DeclarationError, match="100"):
        declaration.read_json(json.dumps({"variants": variants}).encode(), "wine", "wine")


def test_the_name_in_the_body_is_the_path_s() -> None:
    with pytest.raises(DeclarationError, match="'other'"):
        declaration.read_json(b'{"name": "other", "model": "models:/wine/1"}', "wine", "wine")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_mapping_is_refused(body: bytes) -> None:
    with pytest.raises(DeclarationError):
        declaration.read_json(body, "wine", "wine")


def test_a_declaration_survives_json() -> None:
    read = declaration.read_yaml(WHOLE, "wine.yaml")
    assert msgspec.json.decode(msgspec.json.encode(read), type=Declaration) == read


MIB_OF = {
    "variants": json.dumps({"variants": [{"name": f"v{n}", "model": "models:/wine/1"} for n in range(20_000)]}),
    "variants that are nothing": '{"variants": [' + ",".join(["{}"] * 340_000) + "]}",
    "fields that are not known": json.dumps({f"limit{n}": n for n in range(70_000)}),
    "fields in a section of a long name": json.dumps({"k" * 500_000: {str(n): 1 for n in range(40_000)}}),
    "levels": '{"a":' * 170_000 + "1" + "}" * 170_000,
    "levels of a field that is known": '{"limits":' + "[" * 900 + "]" * 900 + "}",
    "a name": json.dumps({"name": "k" * 1_000_000, "model": "a.zip"}),
    "a reference": json.dumps({"model": "models:/" + "x/" * 500_000}),
    "a path": json.dumps({"model": "a" * 1_000_000}),
    "digits": '{"model": "a.zip", "follow": ' + "9" * 1_000_000 + "}",
    "digits as text": json.dumps({"model": "a.zip", "follow": "9" * 1_000_000}),
}


def as_json(body: Any) -> object:
    return declaration.read_json(body, "wine", "wine")


def as_yaml(text: Any) -> object:
    return declaration.read_yaml(text, "wine.yaml")


@pytest.mark.parametrize("text", MIB_OF.values(), ids=MIB_OF)
@pytest.mark.parametrize("read", [as_json, as_yaml])
def test_a_large_one_is_refused_quickly_and_in_few_words(text: Any, read: Any) -> None:
    began = time.process_time()
    with pytest.raises(DeclarationError) as caught:
        read(text.encode())
    assert time.process_time() - began < 2
    assert len(str(caught.value)) < 50_000
    assert len(caught.value.faults) <= 51


def test_hundreds_of_variants_are_read() -> None:
    variants = [{"name": f"v{n}", "model": f"models:/wine/{n}", "weight": 0.125} for n in range(800)]
    read = declaration.read_json(json.dumps({"variants": variants}).encode(), "wine", "wine")
    assert [variant.name for variant in read.variants] == [f"v{n}" for n in range(800)]
    assert declaration.read_yaml(json.dumps({"name": "wine", "variants": variants}).encode(), "wine.yaml") == read


def test_of_many_faults_the_first_are_told_and_the_rest_counted() -> None:
    tree = {"model": "a.zip", **{f"field{n}": 1 for n in range(1000)}}
    with pytest.raises(DeclarationError, match=r"\(file\): and 950 more$") as caught:
        declaration.read_json(json.dumps(tree).encode(), "wine", "wine")
    assert caught.value.faults[0].path == "field0"


def test_a_field_that_is_nearly_known_is_named() -> None:
    found = faults(b"name: wine\nmodel: a.zip\nlimit: {}\nworkers: {replica: 2}\n")
    assert found["limit"].endswith("did you mean limits?")
    assert found["workers.replica"].endswith("did you mean replicas?")
