"""The OpenAPI document of every kind of model: valid, and true of what the server answers, as schemathesis finds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="schemathesis is not installed: pip install schemathesis")
import schemathesis  # noqa: E402
from wine_models import COLUMNS, MODELS, TYPED, Wine  # noqa: E402

from conftest import Server  # noqa: E402

pytestmark = pytest.mark.slow

CHECKS = (
    "not_a_server_error",
    "unsupported_method",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# A type of the model's own takes more than its JSON Schema says: false for 0, text for a number.
STRICT = [model for model in MODELS if model not in TYPED]
METHODS = ("get", "post")
every_model = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def wine() -> Wine:
    """The fitted model."""
    return Wine()


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., Server],
    wine: Wine,
    tmp_path_factory: pytest.TempPathFactory,
    gppi_folder: Callable[..., Path],
) -> Server:
    """Every kind of model in one server."""
    folders = {name: build(wine, tmp_path_factory.mktemp(name), gppi_folder) for name, build in MODELS.items()}
    return start_server(*(f"{name}={folder}" for name, folder in folders.items()), "--env", "local")


@pytest.fixture
def document(server: Server, model: str) -> dict[str, Any]:
    """One model's document."""
    found: dict[str, Any] = requests.get(f"{server.url}/models/{model}/openapi.json", timeout=20).json()
    return found


@every_model
def test_what_the_document_says_is_what_is_answered(
    server: Server, tmp_path: Path, environment: dict[str, str], model: str
) -> None:
    workers = sorted(server.workers())
    checks = (*CHECKS, "negative_data_rejection") if model in STRICT else CHECKS
    options = ["--seed=1", "--max-examples=5", "--generation-database=none", "--no-color", "--continue-on-failure"]
    options += ["--phases=examples,coverage,fuzzing", "--warnings=off", "--request-timeout=20"]
    # What is the same for every kind is asked about once.
    options += [] if model == next(iter(MODELS)) else ["--include-tag", model, "--exclude-path-regex=/versions/"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/models/{model}/openapi.json"),
            *("--checks", ",".join(checks), *options),
        ],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    # So that it cannot pass by asking nothing.
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None
    assert int(generated[1]) > 300
    assert sorted(server.workers()) == workers


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def schemas(value: Any) -> Iterator[Any]:
    """Every schema of the document: its components, and what stands under `schema`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "schema":
                yield inner
            elif key == "schemas":
                yield from inner.values()
            else:
                yield from schemas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas(inner)


def validator(document: dict[str, Any], schema: Any) -> Any:
    """For one schema of the document. Raises ValidationError for what is no schema, or refers to nothing."""
    return jsonschema_rs.Draft202012Validator({"components": document["components"], "allOf": [schema]})


@pytest.mark.parametrize("path", ["/openapi.json", *(f"/models/{model}/openapi.json" for model in MODELS)])
def test_the_document_is_valid(server: Server, path: str) -> None:
    document = requests.get(server.url + path, timeout=20).json()
    assert document["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(document).validate()
    found = list(schemas(document))
    assert len(found) > 50
    for schema in found:
        validator(document, schema)
    names = [operation["operationId"] for _, _, operation in operations(document) if "operationId" in operation]
    assert len(names) == len(set(names))


@every_model
def test_every_example_fits_its_schema_and_is_answered(server: Server, document: dict[str, Any], model: str) -> None:
    answered = []
    for path, method, operation in operations(document):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            if "example" not in content:
                continue
            body = content["example"]
            validator(document, content["schema"]).validate(body)
            version = requests.get(f"{server.url}/v2/models/{model}", timeout=20).json()["versions"][0]
            url = path.replace("{version}", version)
            answer = server.post(url, body.encode() if isinstance(body, str) else body, headers={"content-type": kind})
            assert answer.status_code == 200, (url, kind, answer.text)
            answered.append((path, method))
    assert (f"/v2/models/{model}/infer", "post") in answered
    assert (f"/v2/models/{model}/versions/{{version}}/infer", "post") in answered
    assert (f"/models/{model}/invocations", "post") in answered


@every_model
def test_inference_is_typed_by_the_model(server: Server, document: dict[str, Any], wine: Wine, model: str) -> None:
    tensors = [
        {"name": name, "shape": [20], "datatype": "FP64", "data": [row[place] for row in wine.data]}
        for place, name in enumerate(COLUMNS)
    ]
    content = document["paths"][f"/v2/models/{model}/infer"]["post"]["requestBody"]["content"]["application/json"]
    fits = validator(document, content["schema"]).is_valid
    assert fits({"inputs": tensors})
    assert not fits({"inputs": tensors[:-1]})
    assert not fits({"inputs": [*tensors[:-1], {**tensors[-1], "name": "colour"}]})
    assert not fits({"inputs": [*tensors[:-1], {**tensors[-1], "datatype": "BYTES"}]})
    assert not fits({"inputs": [*tensors[:-1], {**tensors[-1], "data": ["red"] * 20}]})
    metadata = requests.get(f"{server.url}/v2/models/{model}", timeout=20).json()
    inputs = [{"name": name, "datatype": "FP64", "shape": [-1]} for name in COLUMNS]
    assert sorted(metadata["inputs"], key=lambda one: COLUMNS.index(one["name"])) == inputs
