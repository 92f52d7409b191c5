"""A model in Java from its JAR to its answers: packed, verified, registered, served, and replaced where it dies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Server, legion
from java_models import ROOT, compiled, jar, needs_jdk, wine_jar
from legion.artifact.archive import open_artifact

GOLDEN = ROOT / "examples" / "java-wine" / "golden.json"
QUALITY = [5.894982608, 5.57184847, 5.655798871]

pytestmark = [pytest.mark.slow, needs_jdk]


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The example as an artifact."""
    folder = tmp_path_factory.mktemp("java")
    out = folder / "wine-java.zip"
    args: list[str | Path] = [
        "--name",
        "wine",
        "--version",
        "1.0.0-1",
        "-o",
        out,
        "--golden",
        GOLDEN,
        "--jvm-option=-Xmx64m",
    ]
    done = legion("pack", wine_jar(folder), *args, env=environment)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def served(wine: Path, start_server: Callable[..., Server]) -> Server:
    return start_server(wine)


def split() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text())[0]["dataframe_split"]
    return found


def test_an_artifact_is_made_of_a_jar(wine: Path, environment: dict[str, str]) -> None:
    found = open_artifact(wine)
    assert {member.name for member in found.members} == {"legion.model.yaml", "legion.golden.json", "wine.jar"}
    binaries = found.manifest.binaries
    assert (binaries.type, binaries.further) == ("java", {"jvm_options": ["-Xmx64m"]})
    golden = json.loads(found.read("legion.golden.json"))
    assert golden["deterministic"] is True
    assert [row["quality"] for row in golden["cases"][0]["response"]["predictions"]] == pytest.approx(QUALITY)
    assert legion("verify", wine, env=environment).returncode == 0
    inspected = legion("inspect", wine, env=environment)
    assert "wine.jar in ." in inspected.stdout


def test_golden_requests_are_drawn_where_none_are_given(
    wine: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "unpacked"
    assert legion("unpack", wine, folder, env=environment).returncode == 0
    done = legion("pack", folder / "wine.jar", "-o", tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("wine-1.0.0-????????.zip")
    cases = json.loads(open_artifact(made).read("legion.golden.json"))["cases"]
    assert cases[0]["request"]["dataframe_split"]["data"] == split()["data"][:1]
    assert len(cases) >= 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{jar}", "--jvm-option=-XX:OnError=ls"], 1, "'-XX:OnError=ls' is refused"),
        (["{jar}", "--golden", "{text}"], 2, "is no JSON"),
        (["{jar}", "--golden", "{wrong}"], 2, "the model refuses 1 of the requests"),
        (["{jar}", "--golden", "{mixed}"], 2, "each body has one of dataframe_split"),
        (["{jar}", "--env", "uv"], 2, "--env uv means nothing"),
        (["{text}"], 1, "is no JAR"),
        (["{folder}", "--golden", "{wrong}"], 2, "leave out --golden"),
        (["{folder}", "--jvm-option=-Xmx64m"], 2, "only a JAR takes --jvm-option"),
    ],
)
def test_what_cannot_be_packed_says_why(
    wine: Path, tmp_path: Path, environment: dict[str, str], arguments: list[str], code: int, message: str
) -> None:
    places = {"jar": wine.parent / "wine.jar", "text": tmp_path / "text.jar", "folder": tmp_path}
    places |= {"wrong": tmp_path / "wrong.json", "mixed": tmp_path / "mixed.json"}
    places["text"].write_text("no JAR")
    places["wrong"].write_text(json.dumps([{"instances": [{"alcohol": 1}]}]))
    places["mixed"].write_text(json.dumps([{"instances": [{"alcohol": 1}]}, {"alcohol": 1}]))
    args = [argument.format(**places) for argument in arguments]
    done = legion("pack", *args, "-o", tmp_path / "out.zip", env=environment)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.zip").exists()


def test_every_protocol_gives_the_model_s_numbers(served: Server) -> None:
    assert "gjpi path, merges requests" in served.log.read_text()
    mlflow = served.post("/invocations", {"dataframe_split": split()}).json()["predictions"]
    assert [row["quality"] for row in mlflow] == pytest.approx(QUALITY)
    answer = served.post("/api/model/invoke", split()).json()
    assert answer["columns"] == ["quality"]
    assert [row[0] for row in answer["prediction"]] == pytest.approx(QUALITY)
    columns = zip(*split()["data"], strict=True)
    inputs = [
        {"name": name, "shape": [3], "datatype": "FP64", "data": list(map(float, column))}
        for name, column in zip(split()["columns"], columns, strict=True)
    ]
    (output,) = served.post("/v2/models/wine/infer", {"inputs": inputs}).json()["outputs"]
    assert (output["name"], output["data"]) == ("quality", pytest.approx(QUALITY))


def test_refusals_and_missing_values(served: Server) -> None:
    names, rows = split()["columns"], split()["data"]
    missing = served.post("/api/model/invoke", {"columns": names, "data": [[None, *rows[0][1:]], rows[1]]}).json()
    assert missing["prediction"] == [[None], [pytest.approx(QUALITY[1])]]
    narrow = served.post("/api/model/invoke", {"data": [rows[0][1:]]})
    assert (narrow.status_code, narrow.json()["row"]) == (422, 0)
    unknown = served.post("/invocations", {"dataframe_split": {"columns": [*names[1:], "colour"], "data": rows}})
    assert unknown.status_code == 400
    assert "'fixed acidity'" in unknown.json()["message"]
    assert "'colour'" in unknown.json()["message"]


def test_the_openapi_is_typed_and_filled_in(served: Server) -> None:
    document = requests.get(served.url + "/openapi.json", timeout=10).json()
    text = json.dumps(document)
    assert "volatile acidity" in text
    assert "quality" in text
    operation = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    example = operation.get("example") or next(iter(operation["examples"].values()))["value"]
    assert served.post("/invocations", example).status_code == 200


def test_it_is_registered_checked_and_served_from_the_registry(
    wine: Path, tmp_path: Path, environment: dict[str, str], start_server: Callable[..., Server]
) -> None:
    env = {**environment, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    done = legion("register", wine, "--name", "wine", "--alias", "champion", "--check", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "checking the golden answers" in done.stderr
    table = tmp_path / "rows.csv"
    lines = [split()["columns"], *split()["data"]]
    table.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    out = tmp_path / "out.csv"
    done = legion("predict", "models:/wine@champion", "-i", table, "-o", out, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    header, *values = out.read_text().split()
    assert header == "quality"
    assert list(map(float, values)) == pytest.approx(QUALITY)


DEADLY = """
package probe;
import java.util.*;
public final class Deadly implements legion.gjpi.LegionModel {
    public String init() { return "matrix"; }
    public Matrix predictOnMatrix(Matrix in) throws Exception {
        System.out.println("asked for " + in.values[0]);
        switch ((int) in.values[0]) {
            case 1: System.exit(0); break;
            case 2: Runtime.getRuntime().halt(0); break;
            case 3: List<long[]> all = new ArrayList<>(); while (true) all.add(new long[1 << 24]);
            case 4:
                java.lang.reflect.Field field = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe");
                field.setAccessible(true);
                Object memory = field.get(null);
                memory.getClass().getMethod("putLong", long.class, long.class).invoke(memory, 8L, 1L);
                break;
            case 5: while (true) Thread.onSpinWait();
            default: break;
        }
        return new Matrix(in.values, in.rows);
    }
}
"""


@pytest.fixture
def deadly(tmp_path: Path, environment: dict[str, str]) -> Path:
    path = jar(tmp_path / "deadly.jar", compiled(tmp_path, Deadly=DEADLY), "probe.Deadly")
    done = legion("pack", path, "-o", tmp_path / "deadly.zip", "--jvm-option=-Xmx64m", env=environment)
    assert done.returncode == 0, done.stderr
    assert "no golden answers" in done.stderr
    return tmp_path / "deadly.zip"


def answered(server: Server, seconds: float = 30) -> None:
    """A request is answered, once another worker is there."""
    end = time.monotonic() + seconds
    while True:
        answer = server.post("/api/model/invoke", {"data": [[0.5]]})
        if answer.status_code == 200:
            assert answer.json()["prediction"] == [[0.5]]
            return
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.1)


def test_a_machine_that_dies_costs_one_worker(deadly: Path, start_server: Callable[..., Server]) -> None:
    server = start_server(deadly)
    for way in (1, 2, 3, 4):
        (before,) = server.workers()
        answer = server.post("/api/model/invoke", {"data": [[float(way)]]})
        assert (answer.status_code, answer.json()["message"]) == (
            503,
            "the model's process ended while answering this request",
        )
        answered(server)
        assert server.workers() != [before]
    log = server.log.read_text()
    # What the model prints is there, and no report of many pages about the crash.
    assert "asked for 4.0" in log
    assert "Java heap space" in log
    assert "SIGSEGV" in log
    assert "Register to memory mapping" not in log
    assert server.stop() == 0


def test_a_busy_machine_ends_with_its_parent(deadly: Path, start_server: Callable[..., Server]) -> None:
    server = start_server(deadly)
    (worker,) = server.workers()
    with pytest.raises(requests.Timeout):
        server.post("/api/model/invoke", {"data": [[5.0]]}, timeout=1)
    server.process.kill()
    server.process.wait()
    end = time.monotonic() + 10
    while time.monotonic() < end and _runs(worker):
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


WRITTEN = """
package probe;
import java.util.*;
public final class Written implements legion.gjpi.LegionModel {
    public String init() { return "objects"; }
    public List<Map<String, Object>> predictOnObjects(List<Map<String, Object>> objects) {
        List<Map<String, Object>> out = new ArrayList<>();
        for (Map<String, Object> one : objects)
            out.add(Map.of("score", ((Number) one.get("alcohol")).doubleValue() / 2, "of", one.get("name")));
        return out;
    }
    public String getInfo() {
        return ("{'inputs': [{'name': 'name', 'type': 'string'}, {'name': 'alcohol', 'type': 'double'}],"
            + "'outputs': [{'name': 'score', 'type': 'double'}, {'name': 'of', 'type': 'string'}]}")
            .replace("'", "\\"");
    }
}
"""


def test_objects_are_packed_merged_and_typed(
    tmp_path: Path, environment: dict[str, str], start_server: Callable[..., Server]
) -> None:
    path = jar(tmp_path / "written.jar", compiled(tmp_path, Written=WRITTEN), "probe.Written")
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps([{"name": "a", "alcohol": 12.5}, {"name": "b", "alcohol": 9}]))
    done = legion("pack", path, "-o", tmp_path / "written.zip", "--golden", golden, env=environment)
    assert done.returncode == 0, done.stderr
    server = start_server(tmp_path / "written.zip")
    assert "merges requests" in server.log.read_text()
    answer = server.post("/api/model/invoke", [{"name": "ü", "alcohol": 3}])
    assert (answer.status_code, answer.json()) == (200, [{"score": 1.5, "of": "ü"}])
    records = {"dataframe_records": [{"name": "x", "alcohol": 4}, {"name": "y", "alcohol": 5}]}
    assert [row["score"] for row in server.post("/invocations", records).json()["predictions"]] == [2.0, 2.5]
    refused = server.post("/api/model/invoke", [{"name": "x", "alcohol": "much"}])
    assert (refused.status_code, refused.json()["row"], refused.json()["column"]) == (422, 0, "alcohol")
    document = requests.get(server.url + "/openapi.json", timeout=10).text
    assert '"alcohol"' in document
    assert '"score"' in document
