"""The Swagger page in a real browser: drawn without any other host, and `Execute` succeeds as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Server

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

ENTRYPOINT = """
    def init():
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[sum(row)] for row in input_matrix.tolist()]

    def get_info():
        return [{"name": "width", "type": "number", "example": 2.5}], [{"name": "area", "type": "number"}]
"""


# Operation → what its example holds, and the answer to it.
OPERATIONS = {
    "invocations": ('"width"', {"predictions": [[2.5]]}),
    "invoke": ('"width"', {"prediction": [[2.5]], "columns": ["area"]}),
    "v2-infer": (
        '"datatype": "FP64"',
        {
            "model_name": "probe",
            "model_version": "1.0.0-test",
            "outputs": [{"name": "area", "datatype": "FP64", "shape": [1, 1], "data": [2.5]}],
        },
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; on Debian: apt install chromium")
def test_execute_succeeds_with_the_example_and_without_network(
    start_server: Callable[..., Server], gppi_folder: Callable[..., Path]
) -> None:
    server = start_server(gppi_folder(ENTRYPOINT), "--env", "local")
    elsewhere, answers = [], {}
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(server.url + "/docs")
        for name, (example, _) in OPERATIONS.items():
            operation = page.locator(f"#operations-probe-probe-{name}")
            operation.locator(".opblock-summary").click()
            assert example in operation.locator("textarea.body-param__text").input_value()
            operation.locator(".execute").click()
            answers[name] = json.loads(operation.locator(".live-responses-table .microlight").first.inner_text())
        # A version is chosen from a list.
        versioned = page.locator("#operations-probe-probe-v2-version")
        versioned.locator(".opblock-summary").click()
        versioned.locator(".execute").click()
        described = json.loads(versioned.locator(".live-responses-table .microlight").first.inner_text())
        browser.close()
    assert answers == {name: answer for name, (_, answer) in OPERATIONS.items()}
    assert described["versions"] == ["1.0.0-test"]
    assert [url for url in elsewhere if not url.startswith((server.url, "data:"))] == []
