"""The admin API of a real gateway: deployments put up, looked at, changed, rolled back, restored, taken down."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Server

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-tests"
VERSIONED = """
    import os, time

    def init():
        {init}
        return "matrix"

    def predict_on_matrix(input_matrix, provided_columns_names=None):
        {predict}
        return [[{answer}] for row in input_matrix.tolist()], ["v"]

    def get_info():
        return [{{"name": "a", "type": "number"}}], [{{"name": "v", "type": "number"}}]
"""
ROW = {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}


def source(answer: object, init: str = "pass", predict: str = "pass") -> str:
    return VERSIONED.format(answer=answer, init=init, predict=predict)


class Admin:
    """A gateway with an admin API and a state folder of its own."""

    def __init__(self, start_server: Callable[..., Server], state: Path, *models: str | Path) -> None:
        self.server = start_server(*models, "--admin", "--state", str(state))
        self.url = self.server.url

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        headers = {"authorization": f"Bearer {TOKEN}", **headers}
        data = None if body is None else json.dumps(body)
        return requests.request(method, f"{self.url}/admin{path}", data=data, headers=headers, timeout=60)

    def view(self, name: str) -> Any:
        return self.ask("GET", f"/deployments/{name}").json()

    def put(self, name: str, **fields: Any) -> Any:
        answer = self.ask("PUT", f"/deployments/{name}", {"workers": {"env": "local"}, **fields})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def settled(self, name: str, seconds: float = 60) -> Any:
        end = time.monotonic() + seconds
        while (view := self.view(name))["state"] == "starting":
            assert time.monotonic() < end, view
            time.sleep(0.02)
        return view

    def value(self, name: str = "probe") -> Any:
        answer = self.server.post(f"/models/{name}/invocations", ROW)
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"][0]["v"]


@pytest.fixture(scope="module", autouse=True)
def token(environment: dict[str, str]) -> Iterator[None]:
    environment["LEGION_ADMIN_TOKEN"] = TOKEN
    yield
    del environment["LEGION_ADMIN_TOKEN"]


@pytest.fixture(scope="module")
def admin(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Admin:
    return Admin(start_server, tmp_path_factory.mktemp("state"))


def test_an_empty_gateway_is_ready_and_lists_nothing(admin: Admin) -> None:
    assert requests.get(admin.url + "/ping", timeout=10).status_code == 200
    assert requests.get(admin.url + "/openapi.json", timeout=10).json()["openapi"] == "3.1.0"
    assert admin.ask("GET", "/deployments").json() == {"deployments": []}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Basic x"}, 401),
        ({"authorization": "Bearer wrong"}, 403),
        ({"origin": "http://elsewhere.example"}, 403),
        ({"host": "elsewhere.example"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_who_may_not_is_told_so(admin: Admin, headers: dict[str, str], status: int, method: str) -> None:
    answer = admin.ask(method, "/deployments/wine", {}, **headers)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert admin.ask("GET", "/deployments").json() == {"deployments": []}


def test_a_declaration_with_faults_is_refused_with_all_of_them(admin: Admin) -> None:
    answer = admin.ask("PUT", "/deployments/wine", {"variants": [{"name": "a b", "model": "nope:/x"}], "wieghts": 1})
    assert answer.status_code == 400
    for path in ("variants[0].name", "variants[0].model", "wieghts"):
        assert path in answer.json()["error"]
    assert admin.ask("GET", "/deployments/wine").status_code == 404


def test_a_deployment_lives(admin: Admin, gppi_folder: Callable[..., Path]) -> None:
    one, two = gppi_folder(source(1)), gppi_folder(source(2))
    view = admin.put("probe", model=str(one))
    assert view["name"] == "probe"
    view = admin.settled("probe")
    assert view["state"] == "ready"
    serving = view["variants"][0]["serving"]
    assert serving["artifact_version"] == "1.0.0-test"
    assert serving["workers"] == admin.server.workers()
    assert admin.value() == 1
    assert admin.server.post("/invocations", ROW).status_code == 200

    admin.put("probe", model=str(two))
    view = admin.settled("probe")
    assert admin.value() == 2
    assert view["variants"][0]["standby"]["workers"] == serving["workers"]

    began = time.monotonic()
    assert admin.ask("POST", "/deployments/probe/rollback").status_code == 200
    assert admin.value() == 1
    assert time.monotonic() - began < 0.5
    assert admin.view("probe")["variants"][0]["serving"]["workers"] == serving["workers"]

    assert admin.ask("POST", "/deployments/probe/rollback", {"variant": "other"}).status_code == 404
    assert admin.ask("DELETE", "/deployments/probe").json()["state"] == "stopping"
    assert admin.server.post("/models/probe/invocations", ROW).status_code == 404
    assert admin.server.workers() == []


def test_a_version_that_fails_leaves_the_old_one(admin: Admin, gppi_folder: Callable[..., Path]) -> None:
    good = gppi_folder(source(1), name="good")
    golden = [{"request": ROW, "response": {"predictions": [{"v": 7.0}]}}]
    admin.put("probe", model=str(good), workers={"env": "local", "keep_warm": "0s"})
    assert admin.settled("probe")["state"] == "ready"
    for name, folder, reason in (
        ("raises", gppi_folder(source(2, init="raise RuntimeError('no disk')"), name="raises"), "no disk"),
        ("exits", gppi_folder(source(2, init="os._exit(1)"), name="exits"), "ended while it was loading"),
        ("golden", gppi_folder(source(2), name="golden", golden=golden), "golden"),
        ("absent", "/nowhere/at/all.zip", "no model at"),
    ):
        admin.put("probe", model=str(folder))
        view = admin.settled("probe")
        assert view["state"] == "refused", name
        assert reason in view["variants"][0]["refused"]["reason"]
        assert view["variants"][0]["starting"] is None
        assert admin.value() == 1
        assert len(admin.server.workers()) == 1
    metrics = requests.get(admin.url + "/metrics", timeout=10).text
    assert 'legion_swaps_total{model="probe",outcome="refused",variant="champion"} 4.0' in metrics
    admin.put("probe", model=str(gppi_folder(source(3))))
    view = admin.settled("probe")
    assert view["state"] == "ready"
    assert view["variants"][0]["refused"] is None
    assert admin.value() == 3
    admin.ask("DELETE", "/deployments/probe")


def test_variants_share_by_weight_and_a_caller_keeps_his(admin: Admin, gppi_folder: Callable[..., Path]) -> None:
    one, two = str(gppi_folder(source(1))), str(gppi_folder(source(2)))
    variants = [{"name": "a", "model": one, "weight": 80}, {"name": "b", "model": two, "weight": 20}]
    admin.put("split", variants=variants, sticky="header:X-User-Id")
    assert admin.settled("split")["state"] == "ready"
    values = [admin.value("split") for _ in range(300)]
    assert 25 < values.count(2) < 100
    seen: dict[int, set[Any]] = {}
    for _ in range(3):
        for user in range(20):
            answer = admin.server.post("/models/split/invocations", ROW, headers={"x-user-id": f"user-{user}"})
            seen.setdefault(user, set()).add(answer.json()["predictions"][0]["v"])
    assert all(len(values) == 1 for values in seen.values())
    assert {next(iter(values)) for values in seen.values()} == {1, 2}
    # Only the weights change: nothing is started anew.
    workers = sorted(admin.server.workers())
    variants = [{**variants[0], "weight": 0}, {**variants[1], "weight": 100}]
    admin.put("split", variants=variants)
    assert admin.settled("split")["state"] == "ready"
    assert {admin.value("split") for _ in range(30)} == {2}
    assert sorted(admin.server.workers()) == workers
    admin.put("split", model=two)
    admin.settled("split")
    assert {admin.value("split") for _ in range(10)} == {2}
    admin.ask("DELETE", "/deployments/split")
    assert admin.server.workers() == []


def test_replicas_and_limits_change_in_place(admin: Admin, gppi_folder: Callable[..., Path]) -> None:
    folder = str(gppi_folder(source(1)))
    admin.put("probe", model=folder)
    admin.settled("probe")
    admin.put("probe", model=folder, limits={"max_body": "10B"})
    assert admin.server.post("/models/probe/invocations", ROW).status_code == 413
    admin.put("probe", model=folder, workers={"env": "local", "replicas": 2, "keep_warm": 0})
    end = time.monotonic() + 30
    while len(admin.view("probe")["variants"][0]["serving"]["workers"]) != 2 or len(admin.server.workers()) != 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert admin.value() == 1
    admin.ask("DELETE", "/deployments/probe")


def test_deployments_outlive_a_restart(
    start_server: Callable[..., Server], tmp_path: Path, gppi_folder: Callable[..., Path]
) -> None:
    state = tmp_path / "state"
    admin = Admin(start_server, state)
    one, two = str(gppi_folder(source(1))), str(gppi_folder(source(2)))
    admin.put("probe", model=one)
    admin.put("other", model=two, limits={"timeout": "5s"})
    admin.put("gone", model=one)
    declared = {name: admin.settled(name)["declaration"] for name in ("probe", "other", "gone")}
    admin.ask("DELETE", "/deployments/gone")
    assert admin.server.stop() == 0

    again = Admin(start_server, state)
    assert {name: again.view(name)["declaration"] for name in ("probe", "other")} == {
        name: declared[name] for name in ("probe", "other")
    }
    assert (again.value("probe"), again.value("other")) == (1, 2)
    assert again.ask("GET", "/deployments/gone").status_code == 404
    # What cannot be started any more is said and holds up nothing else.
    os.rename(two, two + "-moved")
    assert again.server.stop() == 0
    third = Admin(start_server, state)
    assert third.value("probe") == 1
    assert third.view("other")["state"] == "refused"
    # What it was made of is back: deployed anew it serves.
    os.rename(two + "-moved", two)
    third.put("other", model=two)
    assert third.settled("other")["state"] == "ready"
    assert third.value("other") == 2
    third.ask("DELETE", "/deployments/other")
    os.rename(two, two + "-moved")
    third.put("other", model=two)
    assert third.settled("other")["state"] == "refused"
    assert third.server.post("/models/other/invocations", ROW).status_code == 503
    assert requests.get(third.url + "/ping", timeout=10).status_code == 200
    assert requests.get(third.url + "/models/other/ping", timeout=10).status_code == 503
