"""The Swagger page in a real browser: drawn without any other host, and `Execute` succeeds as it is."""

from __future__ import annotations

import json
import shutil

import pytest

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


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; on Debian: apt install chromium")
def test_execute_succeeds_with_the_example_and_without_network(start_server, gppi_folder):
    server = start_server(gppi_folder(ENTRYPOINT), "--env", "local")
    elsewhere = []
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(server.url + "/docs")
        page.click("#operations-probe-probe-invocations .opblock-summary")
        assert "width" in page.input_value("textarea.body-param__text")
        page.click(".execute")
        answer = page.inner_text(".live-responses-table .microlight")
        browser.close()
    assert json.loads(answer) == {"predictions": [[2.5]]}
    assert [url for url in elsewhere if not url.startswith((server.url, "data:"))] == []
