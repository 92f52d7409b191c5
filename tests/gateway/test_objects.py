"""Models of both generations of GPPI behind a real gateway: what they take, give, refuse, and say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Server
from legion.gateway.openapi import json_schema

PARTS = """
    from typing import Dict, List, Literal, Optional, Union
    from pydantic import BaseModel, Field

    class Grape(BaseModel):
        name: str = Field(min_length=2)
        share: float = Field(gt=0, le=1)

    class Wine(BaseModel):
        alcohol: float = Field(ge=5, le=20)
        colour: Literal["red", "white"]
        grapes: List[Grape] = Field(min_length=1)
        parent: Optional["Wine"] = None
        default: int = 3

    class Score(BaseModel):
        score: float
        of: Grape
"""
MODELS = {
    "objects": f"""{PARTS}
    def init(): return "objects"
    def get_object_input_type(): return List[Wine]
    def get_object_output_type(): return List[Score]
    def predict_on_objects(objects):
        return [Score(score=one.alcohol * one.default, of=one.grapes[0]) for one in objects]
    """,
    "first-objects": f"""{PARTS}
    def init(): pass
    def info(): return Wine
    def predict(one): return {{"score": one.alcohol * one.default, "of": one.grapes[0]}}
    """,
    "plain": """
    def init(): return "objects"
    def predict_on_objects(objects): return [{"n": len(one)} for one in objects]
    """,
    "first-matrix": """
    from pydantic import BaseModel, Field
    class Row(BaseModel):
        b: float = Field(ge=1)
        a: int
    def init(): pass
    def info(): return Row
    def columns_order(): return ["a", "b"]
    def predict_matrix(rows): return [[a - b] for a, b in rows]
    """,
    "ordered": """
    def init(): pass
    def columns_order(): return ["a", "b"]
    def predict_matrix(rows): return rows[:, 0] - rows[:, 1]
    """,
    "free": """
    def init(): return "matrix"
    def predict_on_matrix(rows, provided_columns_names=None): return rows * 2
    """,
    "document": """
    def init(): pass
    def info(): return {"openapi": "3.0.0", "info": {"title": "own"}, "paths": {"/x": {}}}
    def predict(one): return one
    """,
}
WINE = {"alcohol": 10, "colour": "red", "grapes": [{"name": "gamay", "share": 0.5}]}
SCORE = {"score": 30.0, "of": {"name": "gamay", "share": 0.5}}


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], gppi_folder: Callable[..., Path]) -> Server:
    """All of them behind one gateway."""
    return start_server(*(f"{name}={gppi_folder(source, name=name)}" for name, source in MODELS.items()), "--env=local")


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    """The gateway's OpenAPI document."""
    found: dict[str, Any] = requests.get(f"{server.url}/openapi.json", timeout=20).json()
    return found


def operation(document: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][f"/models/{name}{path}"]["post"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["objects", "first-objects"])
def test_objects_over_both_protocols(server: Server, name: str) -> None:
    answer = server.post(f"/models/{name}/api/model/invoke", [WINE, {**WINE, "default": 1}])
    assert (answer.status_code, answer.json()) == (200, [SCORE, {**SCORE, "score": 10.0}])
    answer = server.post(f"/models/{name}/invocations", {"dataframe_records": [WINE]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [SCORE]})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["objects", "first-objects"])
def test_a_refusal_names_row_and_field(server: Server, name: str) -> None:
    wrong = [WINE, {**WINE, "grapes": [{"name": "gamay", "share": 2}]}]
    answer = server.post(f"/models/{name}/api/model/invoke", wrong)
    refusal = answer.json()
    assert (answer.status_code, refusal["row"], refusal["column"]) == (422, 1, "grapes.0.share")
    assert refusal["message"].startswith("row 1, field 'grapes.0.share': ")
    mlflow = server.post(f"/models/{name}/invocations", {"instances": wrong})
    assert (mlflow.status_code, mlflow.json()["error_code"]) == (400, "BAD_REQUEST")
    assert mlflow.json()["message"] == refusal["message"]
    assert server.post(f"/models/{name}/api/model/invoke", [WINE]).json() == [SCORE]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first-matrix", "ordered"])
def test_columns_in_any_order(server: Server, name: str) -> None:
    path = f"/models/{name}/api/model/invoke"
    answer = server.post(path, {"columns": ["b", "a"], "data": [[1, 5], [2, 4]]})
    assert answer.json() == {"prediction": [[4.0], [2.0]], "columns": ["result"]}
    refusal = server.post(path, {"columns": ["b", "c"], "data": [[1, 5]]})
    assert (refusal.status_code, refusal.json()["column"]) == (422, "a")
    if name == "first-matrix":
        refusal = server.post(path, {"columns": ["b", "a"], "data": [[1, 5], [0, 5]]})
        assert (refusal.status_code, refusal.json()["row"], refusal.json()["column"]) == (422, 1, "b")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != "document"])
def test_every_example_of_the_document_is_answered(server: Server, document: dict[str, Any], name: str) -> None:
    for path in ("/invocations", "/api/model/invoke"):
        for kind, content in operation(document, name, path)["requestBody"]["content"].items():
            example = content["example"]
            body = example.encode() if isinstance(example, str) else example
            answer = server.post(f"/models/{name}{path}", body, headers={"content-type": kind})
            assert answer.status_code == 200, (path, kind, example, answer.text)


@pytest.mark.slow
def test_the_document_is_typed_by_the_declared_types(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    invoke = operation(document, "objects", "/api/model/invoke")
    body = invoke["requestBody"]["content"]["application/json"]["schema"]
    answer = invoke["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"type": "array", "items": {"$ref": "#/components/schemas/objects-Output"}}
    assert schemas["objects-Output"]["properties"]["of"] == {"$ref": "#/components/schemas/objects-Output-Grape"}
    assert body == {"type": "array", "items": {"$ref": "#/components/schemas/objects-Input"}}
    # A type that holds itself refers to its own definition.
    wine = schemas["objects-Input"]
    while "$ref" in wine:
        wine = schemas[wine["$ref"].rsplit("/", 1)[1]]
    assert wine["required"] == ["alcohol", "colour", "grapes"]
    assert wine["properties"]["alcohol"]["maximum"] == 20
    assert wine["properties"]["default"]["default"] == 3
    assert "422" in invoke["responses"]
    assert schemas["first-matrix-Input"]["properties"]["b"]["minimum"] == 1


def references(value: Any) -> list[str]:
    """Every reference in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


@pytest.mark.slow
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = references(document)
    assert len(found) > 20
    for reference in found:
        assert reference.rsplit("/", 1)[1] in document["components"]["schemas"], reference


@pytest.mark.slow
def test_the_model_s_own_document_is_its_info(server: Server) -> None:
    own = requests.get(f"{server.url}/models/document/api/model/info", timeout=20).json()
    assert own == {"openapi": "3.0.0", "info": {"title": "own"}, "paths": {"/x": {}}}
    typed = requests.get(f"{server.url}/models/objects/api/model/info", timeout=20).json()
    assert "objects-Input" in typed["components"]["schemas"]


def test_schemas_become_components() -> None:
    parts: dict[str, Any] = {}
    schema = {
        "$defs": {"A b": {"type": "integer", "default": {"$ref": "#/$defs/kept"}}},
        "properties": {
            "$ref": {"type": "string"},
            "default": {"$ref": "#/$defs/A b"},
            "me": {"$ref": "#"},
            "lost": {"$ref": "#/nowhere", "title": "lost"},
            "one": {"discriminator": {"propertyName": "k", "mapping": {"a": "#/$defs/A b"}}},
        },
    }
    assert json_schema.added(parts, "the model", schema) == {"$ref": "#/components/schemas/the_model"}
    properties = parts["the_model"]["properties"]
    assert properties["$ref"] == {"type": "string"}
    assert properties["default"] == {"$ref": "#/components/schemas/the_model-A_b"}
    assert properties["me"] == {"$ref": "#/components/schemas/the_model"}
    assert properties["lost"] == {"title": "lost"}
    assert properties["one"]["discriminator"]["mapping"] == {"a": "#/components/schemas/the_model-A_b"}
    assert parts["the_model-A_b"]["default"] == {"$ref": "#/$defs/kept"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "number"}, 0.5),
        ({"type": "number", "minimum": 3}, 3),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.2}, 0.1),
        ({"type": "integer", "exclusiveMaximum": -2}, -3),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2025-01-31"),
        ({"type": ["null", "boolean"]}, True),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 0}, 0),
        ({"type": "number", "examples": [4]}, 4),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, [1, "text"]),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 1}),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {}}]}, {"a": 1}),
        ({"$ref": "#/components/schemas/me"}, None),
        (True, None),
    ],
)
def test_made_up_values(schema: Any, expected: Any) -> None:
    made = json_schema.sample(schema, {"me": {"$ref": "#/components/schemas/me"}})
    assert made == expected
